// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The director's programs: the two hooks over one table, and the one that starts the sweep. Parse, decide, act. */
#include "forward_tc.h"
#include "forward_xdp.h"
#include "sweep.h"

/* an enum that no map refers to is not in the object's type information: this keeps those that Python needs */
const volatile struct {
	enum connection_state connection_state;
	enum forwarding_method forwarding_method;
	enum slot_phase slot_phase;
	enum slot_side slot_side;
	enum control_shift control_shift;
	enum selection selection;
	enum server_phase server_phase;
	enum xdp_sending xdp_sending;
	enum tunnel_type tunnel_type;
	enum tunnel_checksum tunnel_checksum;
	enum knob knob;
	enum address_role address_role;
	enum event_kind event_kind;
	enum drop_reason drop_reason;
} for_python;

SEC("xdp")
int director_xdp(struct xdp_md *ctx)
{
	struct packet packet;
	struct decision decision = {};
	if (!parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->data_end - ctx->data, &packet))
		return XDP_PASS;
	struct interface *in = interface_at(ctx->ingress_ifindex);
	if (packet.options || !for_this_host(in, packet.eth))
		return XDP_PASS;
	enum verdict verdict = decide(&packet, &decision);
	switch (verdict) {
	case VERDICT_PASS:
		return XDP_PASS;
	case VERDICT_DROP:
		count_drop(decision.reason);
		return XDP_DROP;
	case VERDICT_REQUEST:
	case VERDICT_REPLY:
		return forward_xdp(ctx, in, &packet, &decision, verdict);
	}
	return XDP_ABORTED;
}

/* Headers that are not in the linear part of the buffer are pulled there: the largest are 14 + 60 + 60 bytes. */
enum { HEADERS = 134 };

static __always_inline int drop_tc(enum drop_reason reason)
{
	count_drop(reason);
	return TC_ACT_SHOT;
}

/* True for what this table may want: a packet that is parsed, and goes by no way of its own choice. */
static __always_inline bool parse_tc(struct __sk_buff *skb, struct packet *packet)
{
	if (skb->vlan_present || skb->protocol != bpf_htons(ETH_P_IP))
		return false;
	if (skb->data_end - skb->data < HEADERS && skb->data_end - skb->data < skb->len)
		bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
	if (!parse((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, packet))
		return false;
	packet->mark = skb->mark;
	return likely(!packet->options) || !is_source_routed(skb, packet->options);
}

static __always_inline int act_tc(struct __sk_buff *skb, struct packet *packet, struct decision *decision,
				  enum verdict verdict, bool hop)
{
	int action = TC_ACT_SHOT;
	if (verdict == VERDICT_DROP)
		return drop_tc(decision->reason);
	enum drop_reason reason = send_tc(skb, packet, decision, verdict, hop, &action);
	return reason == DROP_REASONS ? action : drop_tc(reason);
}

SEC("tc")
int director_tc(struct __sk_buff *skb)
{
	struct packet packet;
	struct decision decision = {};
	if (skb->pkt_type != PACKET_HOST || !parse_tc(skb, &packet))
		return TC_ACT_OK;
	enum verdict verdict = decide(&packet, &decision);
	return verdict == VERDICT_PASS ? TC_ACT_OK : act_tc(skb, &packet, &decision, verdict, true);
}

/*
 * On the way out by the device that policy rules lead marked packets to; the kernel has counted this hop already. What is not
 * for us goes back to the host, as if it had come in by that device.
 */
SEC("tc")
int director_mark(struct __sk_buff *skb)
{
	struct packet packet;
	struct decision decision = {};
	if (!skb->mark)
		return TC_ACT_SHOT;
	enum verdict verdict = parse_tc(skb, &packet) ? decide(&packet, &decision) : VERDICT_PASS;
	return verdict == VERDICT_PASS ? bpf_redirect(skb->ifindex, BPF_F_INGRESS)
				       : act_tc(skb, &packet, &decision, verdict, false);
}

/* Run once by Python after loading, and again by every upgrade: the timer then runs this object's sweep. */
SEC("tc")
int start_sweep(struct __sk_buff *skb __unused)
{
	__u32 zero = 0;
	struct sweep *sweep = bpf_map_lookup_elem(&sweeps, &zero);
	struct settings *setting = bpf_map_lookup_elem(&settings, &zero);
	if (!sweep || !setting)
		return -1;
	setting->now = bpf_ktime_get_ns() / TICK_NS;
	bpf_timer_init(&sweep->timer, &sweeps,
		       CLOCK_MONOTONIC); /* it fails harmlessly when it was initialised before */
	if (bpf_timer_set_callback(&sweep->timer, on_tick))
		return -2;
	start_sweep_timer(&sweep->timer);
	return 0;
}

/* For tests, which stop the clock and set it: one whole round of the sweep. */
SEC("tc")
int sweep_now(struct __sk_buff *skb __unused)
{
	for (__u32 part = 0; part < SWEEP_TICKS; part++)
		sweep_part(part, now_in_ticks());
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
