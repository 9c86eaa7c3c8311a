# The service and a devnet where systemd can't boot, for `accept.sh`: the command line of the
# package's unit, as its user, in its folders, and restarted as it says. Its sandbox is not there.

UNIT=/lib/systemd/system/opp2p.service
unit() { sed -n "s/^$1=//p" "$UNIT"; }

# Runs the program until it ends by itself or is told to: on the failures that the unit restarts, at
# most five times.
service_loop() {
    rm -f service.stop service.failed
    restarts=0
    while [ "$restarts" -lt 5 ]; do
        echo "$restarts" >service.restarts
        install -d -o "$(unit User)" -g "$(unit Group)" -m "$(unit StateDirectoryMode)" \
            "/var/lib/$(unit StateDirectory)"
        (
            cd "$(unit WorkingDirectory)" || exit
            umask "$(unit UMask)"
            # shellcheck disable=SC2046 # The command line is words.
            exec setpriv --reuid="$(unit User)" --regid="$(unit Group)" --clear-groups \
                --no-new-privs --bounding-set=-all $(unit ExecStart)
        ) >>service.log 2>&1 &
        echo $! >service.pid
        code=0
        wait $! || code=$?
        [ ! -e service.stop ] || return 0
        if [ "$code" = 0 ]; then return 0; fi
        if [ "$code" = "$(unit RestartPreventExitStatus)" ]; then break; fi
        sleep "$(unit RestartSec)"
        restarts=$((restarts + 1))
    done
    touch service.failed
}

service_is_enabled() { [ -e /etc/systemd/system/multi-user.target.wants/opp2p.service ]; }
service_enable() {
    # Only writes the links.
    systemctl enable --quiet opp2p
    service_start
}
service_start() {
    service_loop &
    loop=$!
}
service_stop() {
    touch service.stop
    kill "$(cat service.pid)" 2>/dev/null || true
    wait "$loop" || true
}
service_restart() {
    service_stop
    service_start
}
service_reload() { kill -HUP "$(cat service.pid)"; }
service_kill() { kill -KILL "$(cat service.pid)"; }
service_has_failed() { [ -e service.failed ]; }
service_restarts() { cat service.restarts; }
service_log() { cat service.log; }
# Without systemd, the package can't restart the service.
service_after_upgrade() { service_restart; }

devnet_start() {
    opp2p devnet --followers 1 --block-time 0.5 --no-web --print-config --json \
        --data-dir devnet >devnet.json 2>devnet.err &
    devnet=$!
}
devnet_stop() {
    kill "$devnet" 2>/dev/null || true
    wait "$devnet" || true
}
