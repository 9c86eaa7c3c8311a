#!/bin/sh
# Installs, runs, upgrades and removes the Debian package in a fresh system, as its root. `cargo
# all-tests -- release` boots the system and reads what this says.
set -eu

say() { echo "accept: $*"; }
fail() {
    say "FAILED: $*"
    opp2p status --json 2>&1 | head -c 2000 || true
    journalctl --no-pager -u opp2p | tail -n 15
    exit 1
}
now() { date +%s%3N; }
# wait_for SECONDS COMMAND…
wait_for() {
    left=$(($1 * 5))
    shift
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "not within the time: $*"
        sleep 0.2
    done
}
status() { opp2p status --json; }
field() { status | sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }
head_number() { status | sed -n 's/.*"head":{[^}]*"number":\([0-9]*\).*/\1/p'; }
is_at() { [ "$(head_number)" -ge "$1" ]; }

begin=$(now)
dpkg -i /root/opp2p-1.deb
say "installed after $(($(now) - begin)) ms: $(opp2p --version)"
systemctl is-enabled opp2p && fail "the service is enabled before its network is set"
man_pages=$(dpkg -L opp2p | grep -c '/man1/.*\.1')
[ "$man_pages" -gt 5 ] || fail "$man_pages manual pages"

# A chain on this machine. Its command line for a node that joins becomes the settings.
systemd-run --quiet --unit=devnet --property=StandardError=file:/root/devnet.err \
    /usr/bin/opp2p devnet --followers 1 --block-time 0.5 --no-web --data-dir /root/devnet
wait_for 20 grep -q 'to join:' /root/devnet.err
join=$(sed -n 's/.*to join: //p' /root/devnet.err)
install -m 644 /root/devnet/rollup.json /etc/opp2p/rollup.json
signer=$(echo "$join" | sed 's/.*--signer \([^ ]*\).*/\1/')
peer=$(echo "$join" | sed 's/.*--p2p.static \([^ ]*\).*/\1/')
cat >/etc/opp2p/opp2p.toml <<END
rollup.config = "/etc/opp2p/rollup.json"
signer = "$signer"
data-dir = "/var/lib/opp2p"
p2p.no-discovery = true
p2p.static = "$peer"
p2p.listen.tcp = 9333
END

begin=$(now)
systemctl enable --quiet --now opp2p
wait_for 30 is_at 1
say "first block $(($(now) - begin)) ms after the start"
key=$(find /var/lib/opp2p -name opnode_p2p_priv.txt)
mode=$(stat -c '%U %a' "$key")
[ "$mode" = "opp2p 600" ] || fail "the key is $mode"
systemctl reload opp2p
wait_for 20 is_at 8
id=$(field peerID)
[ -n "$id" ] || fail "no peer id: $(status)"

say "killing it"
systemctl kill --signal=KILL opp2p
wait_for 30 is_at 9
[ "$(field peerID)" = "$id" ] || fail "another peer id after a crash"

before=$(head_number)
stored=$(du -sk /var/lib/opp2p | cut -f1)
begin=$(now)
dpkg -i --force-confold /root/opp2p-2.deb
wait_for 30 is_at "$before"
say "upgraded and at block $before again after $(($(now) - begin)) ms, $stored kB kept"
[ "$(field peerID)" = "$id" ] || fail "another peer id after the upgrade"
dpkg -s opp2p | grep -q '^Version: .*-2$' || fail "the upgrade did not happen"

# A setting that is unusable stops the service with one sentence, without a loop of restarts.
sed -i 's/^p2p.listen.tcp = .*/p2p.listen.tcp = "many"/' /etc/opp2p/opp2p.toml
systemctl restart opp2p || true
wait_for 10 systemctl is-failed opp2p
journalctl --no-pager -u opp2p | grep -q 'p2p.listen.tcp' || fail "the log does not name the setting"
[ "$(systemctl show -p NRestarts --value opp2p)" -lt 3 ] || fail "it restarts for ever"

systemctl stop devnet
dpkg --purge opp2p
systemctl daemon-reload
[ ! -e /var/lib/opp2p ] || fail "the data is left"
getent passwd opp2p && fail "the user is left"
left=$(find / -xdev \( -name '*opp2p*' -o -name 'devnet' \) -not -path '/root/*' -not -path '/proc/*' \
    -not -path '/tmp/*' -not -path '/run/*' -not -path '/var/log/journal/*')
case $left in
*/etc/opp2p | '') ;;
*) fail "left after the removal: $left" ;;
esac
rm -rf /etc/opp2p
say "passed"
