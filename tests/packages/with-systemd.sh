# The service and a devnet under systemd, for `accept.sh`.

service_is_enabled() { systemctl is-enabled opp2p; }
service_enable() { systemctl enable --quiet --now opp2p; }
service_start() { systemctl start opp2p; }
service_stop() { systemctl stop opp2p; }
service_restart() { systemctl restart opp2p; }
service_reload() { systemctl reload opp2p; }
service_kill() { systemctl kill --signal=KILL opp2p; }
service_has_failed() { systemctl is-failed opp2p; }
service_restarts() { systemctl show -p NRestarts --value opp2p; }
service_log() { journalctl --no-pager -u opp2p; }
# The package restarts a running service itself.
service_after_upgrade() { :; }

devnet_start() {
    systemd-run --quiet --collect --unit=devnet --property=StandardOutput=file:/root/devnet.json \
        /usr/bin/opp2p devnet --followers 1 --block-time 0.5 --no-web --print-config --json \
        --data-dir /root/devnet
}
devnet_stop() { systemctl stop devnet; }
