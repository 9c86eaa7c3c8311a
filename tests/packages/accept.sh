#!/bin/sh
# Installs, runs, upgrades and removes the Debian package in a fresh system, as its root. `cargo
# all-tests -- release` makes the system and reads what this says.
#
# Beside this file are two revisions of the package, and `service.sh`, which starts the service and
# a devnet: with systemd, or without it where it can't boot.
set -eu
export DEBIAN_FRONTEND=noninteractive
cd /root
. ./service.sh

say() { echo "accept: $*"; }
fail() {
    say "FAILED: $*"
    opp2p status --json 2>&1 | head -c 2000 || true
    service_log | tail -n 15
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
is_above() { [ "$(head_number)" -gt "$1" ]; }
peers() { opp2p peers --rpc.token.path /etc/opp2p/rpc.token "$@"; }
knows() { peers --all --json | grep -q "${follower##*/}"; }
# as_user COMMAND…
as_user() { setpriv --reuid=opp2p --regid=opp2p --clear-groups "$@"; }
stored() { as_user opp2p store info --json --data-dir /var/lib/opp2p; }
number_in() { sed -n "s/.*\"$1\":{[^}]*\"number\":\([0-9]*\).*/\1/p"; }

# Every file of the system but those of running programs and of the package manager's own records.
files() {
    find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp \
        -o -path /root -o -path /var/tmp -o -path /var/log -o -path /var/cache \
        -o -path /var/backups -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/lib/systemd \
        -o -path '/etc/*-' -o -path /etc/.pwd.lock \) -prune -o -print | sort
}

BANNED=16Uiu2HAm3cuhhRL2msUuLF62KRSfneFDx94RsuouyW25Ho42cFMq
BLOCKED=192.0.2.7

install_package() {
    files >before
    begin=$(now)
    apt-get install --quiet --quiet --yes --no-install-recommends ./opp2p-1.deb
    say "installed after $(($(now) - begin)) ms: $(opp2p --version)"
    service_is_enabled && fail "the service is enabled before its network is set"
    man_pages=$(dpkg -L opp2p | grep -c '/man1/.*\.1')
    [ "$man_pages" -gt 5 ] || fail "$man_pages manual pages"
    exposure=$(systemd-analyze security --offline=true --no-pager opp2p.service | tail -n 1)
    say "systemd-analyze security:${exposure#*:}"
}

# The addresses of the devnet's two nodes: one is a static peer, the other is connected later.
configure() {
    devnet_start
    wait_for 20 grep -q '"nodes"' devnet.json
    install -m 644 devnet/rollup.json /etc/opp2p/rollup.json
    install -o opp2p -g opp2p -m 600 /dev/null /etc/opp2p/rpc.token
    echo 0123456789abcdef0123456789abcdef >/etc/opp2p/rpc.token
    signer=$(sed -n 's/.*"signer":"\([^"]*\)".*/\1/p' devnet.json)
    nodes=$(sed -n 's/.*"nodes":\["\([^]]*\)"\].*/\1/p' devnet.json)
    follower=${nodes#*\",\"}
    cat >/etc/opp2p/opp2p.toml <<END
rollup.config = "/etc/opp2p/rollup.json"
signer = "$signer"
data-dir = "/var/lib/opp2p"
p2p.static = "${nodes%%\"*}"
p2p.listen.tcp = 9333
rpc.token.path = "/etc/opp2p/rpc.token"
END
}

start() {
    begin=$(now)
    service_enable
    wait_for 30 is_at 1
    say "first block $(($(now) - begin)) ms after the start"
    key=$(find /var/lib/opp2p -name opnode_p2p_priv.txt)
    mode=$(stat -c '%U %a' "$key")
    [ "$mode" = "opp2p 600" ] || fail "the key is $mode"
    service_reload
    wait_for 20 is_at 8
    id=$(field peerID)
    [ -n "$id" ] || fail "no peer id: $(status)"
    peers ban "$BANNED" 2h
    peers block "$BLOCKED"
}

# keeps WHEN: the node is who it was, and bans and refuses whom it did.
keeps() {
    [ "$(field peerID)" = "$id" ] || fail "another peer id after $1"
    peers banned --json >held
    grep -q "$BANNED" held || fail "a ban is forgotten after $1: $(cat held)"
    grep -q "$BLOCKED" held || fail "a block is forgotten after $1: $(cat held)"
}

crash() {
    before=$(head_number)
    service_kill
    wait_for 30 is_above "$before"
    keeps "kill -9"
    say "killed and back"
}

# The devnet is away meanwhile: what the node has then comes from its disk.
upgrade() {
    service_stop
    stored >stored-1
    service_start
    wait_for 20 is_at 8
    peers connect "$follower"
    wait_for 10 knows
    devnet_stop
    before=$(head_number)
    begin=$(now)
    dpkg -i --force-confold opp2p-2.deb
    service_after_upgrade
    wait_for 30 is_at "$before"
    say "upgraded and at block $before again after $(($(now) - begin)) ms"
    dpkg -s opp2p | grep -q '^Version: .*-2$' || fail "the upgrade did not happen"
    keeps "the upgrade"
    knows || fail "a peer is forgotten after the upgrade: $(peers --all --json)"
    service_stop
    stored >stored-2
    [ "$(number_in lowest <stored-2)" = "$(number_in lowest <stored-1)" ] ||
        fail "other blocks than before: $(cat stored-1 stored-2)"
    as_user opp2p store verify --data-dir /var/lib/opp2p
    say "blocks $(number_in lowest <stored-2) to $(number_in highest <stored-2) kept in" \
        "$(du -sk /var/lib/opp2p | cut -f1) kB"
    devnet_start
    service_start
    wait_for 40 is_above "$before"
}

# A setting that is unusable stops the service with one sentence, without a loop of restarts.
misconfigure() {
    sed -i 's/^p2p.listen.tcp = .*/p2p.listen.tcp = "many"/' /etc/opp2p/opp2p.toml
    service_restart || true
    wait_for 10 service_has_failed
    service_log | grep -q 'p2p.listen.tcp' || fail "the log does not name the setting"
    [ "$(service_restarts)" -lt 3 ] || fail "it restarts for ever"
}

remove() {
    devnet_stop
    # The operator's own files are not the package's to remove.
    rm /etc/opp2p/rollup.json /etc/opp2p/rpc.token
    dpkg --purge opp2p
    getent passwd opp2p && fail "the user is left"
    getent group opp2p && fail "the group is left"
    files >after
    left=$(comm -13 before after)
    [ -z "$left" ] || fail "left after the removal: $left"
}

install_package
configure
start
crash
upgrade
misconfigure
remove
say "passed"
