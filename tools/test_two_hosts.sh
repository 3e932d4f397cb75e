#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Trains over two hosts that are made of this machine: two network and UTS namespaces with a cable between them (a veth
# pair), a process of mpirun's in each. mpirun enters the other one by a small script in place of ssh. Parameters must be
# those of one host, to the bit, and a killed rank must end the ranks of both.
#
# Usage: tools/test_two_hosts.sh [--program FILE]
# Exit code: 0 done, 1 something differs, 77 skipped: namespaces are not permitted here (the reason is printed).
set -euo pipefail

program=$(dirname "$0")/../build/halfpipe
case "${1:-}" in
  -h | --help)
    sed -n '3,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
  --program)
    [ $# -eq 2 ] || { echo "halfpipe: error: --program wants a value" >&2; exit 2; }
    program=$2
    ;;
  "") ;;
  *)
    echo "halfpipe: error: $1 is not an option; --help lists them" >&2
    exit 2
    ;;
esac
[ -x "$program" ] || { echo "halfpipe: error: no program $program; tools/build.sh makes it" >&2; exit 2; }
program=$(realpath "$program")

skip() {
  echo "skipped: $1"
  exit 77
}
for tool in ip unshare nsenter mpirun; do
  command -v "$tool" >/dev/null || skip "no $tool here"
done
unshare --net --uts --mount true 2>/dev/null || skip "this user may not make network, UTS and mount namespaces"

# Everything below runs in namespaces of its own: what it makes goes when it ends, and no name can be taken.
if [ "${HALFPIPE_TWO_HOSTS_INSIDE:-}" != yes ]; then
  HALFPIPE_TWO_HOSTS_INSIDE=yes exec unshare --net --uts --mount "$0" --program "$program"
fi

. "$(dirname "$0")/mpi_environment.sh"
folder=$(mktemp -d "${TMPDIR:-/tmp}/halfpipe-hosts-XXXXXX")
other=  # a process that keeps the other host's namespaces
on_exit() {
  if [ -n "$other" ]; then kill "$other" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap on_exit EXIT
cd "$folder"

hostname node1
unshare --net --uts sh -c 'hostname node2 && echo ready >ready && exec sleep 600' &
other=$!
for ((i = 0; i < 500; ++i)); do
  [ ! -e ready ] || break
  sleep 0.02
done
ip link add cable1 type veth peer name cable2 netns "$other" 2>/dev/null || skip "no veth pairs on this kernel"
ip address add 10.73.0.1/24 dev cable1
ip link set cable1 up
ip link set lo up
nsenter --net="/proc/$other/ns/net" sh -c 'ip address add 10.73.0.2/24 dev cable2 && ip link set cable2 up && ip link set lo up'
# Names that both know: this mount namespace has its own /etc/hosts.
printf '127.0.0.1 localhost\n10.73.0.1 node1\n10.73.0.2 node2\n' >hosts
mount --bind hosts /etc/hosts

# mpirun calls it as it would call ssh: [options] HOST COMMAND...
cat >enter_host <<END
#!/bin/sh
while [ "\${1#-}" != "\$1" ]; do shift; done
[ "\$1" = node2 ] || { echo "no host \$1" >&2; exit 1; }
shift
exec nsenter --net=/proc/$other/ns/net --uts=/proc/$other/ns/uts sh -c "cd '$folder' && \$*"
END
chmod +x enter_host
printf 'node1 slots=4\nnode2 slots=4\n' >hostfile

for ((i = 0; i < 250; ++i)); do
  echo "line $i: $((i * 7 % 13)) words go over the bridge"
done >text.txt
cat >run.yaml <<END
model: {num_layers: 4, num_heads: 4, hidden_size: 32, seq_len: 16}
data: {text: text.txt}
train: {steps: 12, micro_batch_size: 4, global_batch_size: 32, evaluate_every: 0}
optimizer: {learning_rate: 1.0e-3, schedule: constant}
schedule: {name: v-half}
device: {threads_per_rank: 1}
output: {checkpoint_every: 4}
END

# on_hosts RANKS MAPPING SETTINGS...
on_hosts() {
  local ranks=$1 mapping=$2
  shift 2
  timeout 120 mpirun -n "$ranks" --hostfile hostfile --map-by "$mapping" --bind-to none \
    --mca plm_rsh_agent "$folder/enter_host" --mca oob_tcp_if_include 10.73.0.0/24 --mca btl_tcp_if_include 10.73.0.0/24 \
    "$program" train run.yaml "$@"
}
hash_of() { sed -n 's/.*"event":"end".*"parameter_hash":"\([0-9a-f]*\)".*/\1/p' "$1/metrics.jsonl"; }
failed=0
complain() {
  echo "FAILED: $1" >&2
  failed=1
}

# check NAME RANKS MAPPING SETTINGS...: the same on one host and on two.
check() {
  local name=$1 ranks=$2 mapping=$3 one two
  shift 3
  "$program" train run.yaml "$@" --local-ranks "$ranks" --set output.dir="one-$name" >one.out 2>&1 ||
    complain "$name on one host: $(tail -3 one.out)"
  on_hosts "$ranks" "$mapping" "$@" --set output.dir="two-$name" >two.out 2>&1 || complain "$name on two hosts: $(tail -20 two.out)"
  one=$(hash_of "one-$name" || true)
  two=$(hash_of "two-$name" || true)
  for host in node1 node2; do
    [ "$(grep -c "^  rank .* $host " two.out)" -eq $((ranks / 2)) ] || complain "$name: not half of the ranks are said to be on $host"
  done
  if [ -n "$one" ] && [ "$one" = "$two" ]; then
    echo "$name: $ranks ranks on two hosts, dealt out by $mapping: parameters $two as on one"
  else
    complain "$name: parameters ${two:-unknown} on two hosts, ${one:-unknown} on one"
  fi
}

# The first has pairs of replicas that exchange gradients between hosts, the second pipelines and tensor ranks.
dp2_pp2=(--set parallel.data=2 --set parallel.pipeline=2)
tp2_pp2=(--set parallel.tensor=2 --set parallel.pipeline=2)
check dp2-pp2-in-blocks 4 ppr:2:node "${dp2_pp2[@]}"
check dp2-pp2-in-turn 4 node "${dp2_pp2[@]}"
check tp2-pp2-in-turn 4 node "${tp2_pp2[@]}"
sed -n '/^places/,/^[^ ]/p' two.out | grep -E '^places|node' || true

# A rank of the second host is killed: the ranks of both hosts end, and one message says why.
on_hosts 4 ppr:2:node "${dp2_pp2[@]}" --set output.dir=killed --set train.steps=100000 >killed.out 2>killed.err &
job=$!
for ((i = 0; i < 1500; ++i)); do
  ! grep -q '^step  *3/' killed.out || break
  sleep 0.02
done
victim=
for process in $(pgrep -x "$(basename "$program" | cut -c1-15)" || true); do
  environment=$(tr '\0' '\n' <"/proc/$process/environ" 2>/dev/null || true)
  # Others' jobs may run beside this one.
  if grep -qx 'OMPI_COMM_WORLD_RANK=3' <<<"$environment" && [ "$(readlink "/proc/$process/cwd")" = "$folder" ]; then victim=$process; fi
done
if [ -z "$victim" ]; then
  complain "no process of rank 3 was found: $(tail -5 killed.err)"
else
  [ "$(readlink "/proc/$victim/ns/net")" = "$(readlink "/proc/$other/ns/net")" ] || complain "rank 3 is not on node2"
  kill -KILL "$victim"
  killed=$SECONDS
  exit_code=0
  wait "$job" || exit_code=$?
  [ $((SECONDS - killed)) -le 10 ] || complain "the job ended $((SECONDS - killed)) s after a rank had died"
  case $exit_code in 1 | 137) ;; *) complain "exit code $exit_code of a job that lost a rank" ;; esac
  if [ "$(grep -c '^halfpipe: error:' killed.err)" -ne 1 ] || ! grep -q "error: rank 3/4 (pid $victim) has died" killed.err; then
    complain "not one message that names rank 3: $(cat killed.err)"
  fi
  for process in $(pgrep -x "$(basename "$program" | cut -c1-15)" || true); do
    [ "$(readlink "/proc/$process/cwd" || true)" != "$folder" ] || complain "process $process still runs"
  done
  grep '^halfpipe: error:' killed.err || true
fi

[ "$failed" -eq 0 ] && echo "two hosts: the same bits"
exit "$failed"
