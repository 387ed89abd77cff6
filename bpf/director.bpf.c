// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The director's programs: the two hooks over one table, and the one that starts the sweep. Parse, decide, act. */
#include "fragment.h"
#include "forward_xdp.h"
#include "short_way.h"
#include "schedule_icmp.h"
#include "ending.h"
#include "sweep.h"
#include "take_over.h"

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
	enum defence defence;
	enum for_own_programs for_own_programs;
	enum address_role address_role;
	enum event_kind event_kind;
	enum drop_reason drop_reason;
} for_python;

SEC("xdp")
int director_xdp(struct xdp_md *ctx)
{
	struct packet packet;
	struct frame frame;
	struct decision decision = {};
	void *data = (void *)(long)ctx->data, *data_end = (void *)(long)ctx->data_end;
	if (parse(data, data_end, data_end - data, &packet, &frame, true) != PARSED_PORTS)
		return XDP_PASS;
	struct interface *in = interface_at(ctx->ingress_ifindex);
	if (!for_this_host(in, frame.eth))
		return XDP_PASS;
	enum verdict verdict = decide(&packet, 0, MET_EARLY, &decision);
	switch (verdict) {
	case VERDICT_PASS:
	case VERDICT_UNREACHABLE:
		return XDP_PASS;
	case VERDICT_DROP:
		count_drop(decision.reason, &packet, &decision);
		return XDP_DROP;
	case VERDICT_REQUEST:
	case VERDICT_REPLY:
		return !has_server(&decision) ? XDP_PASS : forward_xdp(ctx, in, &packet, &frame, &decision, verdict);
	}
	return XDP_ABORTED;
}

/* Headers that are not in the linear part of the buffer are pulled there: an Ethernet, the longest IP and a TCP header. */
enum { HEADERS = 178 };

/* Verified once by itself. A frame that was handed over is not to be balanced once more. */
__noinline int parse_tc(struct __sk_buff *skb, struct packet *packet)
{
	struct frame frame;
	if (!packet)
		return PARSED_NOT_OURS;
	if (skb->data_end - skb->data < HEADERS && skb->data_end - skb->data < skb->len)
		bpf_skb_pull_data(skb, skb->len < HEADERS ? skb->len : HEADERS);
	enum parsed parsed =
		parse((void *)(long)skb->data, (void *)(long)skb->data_end, skb->len, packet, &frame, false);
	if (parsed == PARSED_NOT_OURS || (is_here(skb) && was_handed_over(frame.eth)))
		return PARSED_NOT_OURS;
	read_for_outer(&frame, packet);
	if (packet->tuple.protocol == IPPROTO_SCTP && parsed == PARSED_PORTS)
		packet->tcp_flags = sctp_flags(skb, packet->l4_offset, packet->length + sizeof(struct ethhdr));
	return parsed;
}

static __always_inline int drop_tc(enum drop_reason reason, const struct packet *packet,
				   const struct decision *decision)
{
	count_drop(reason, packet, decision);
	return TC_ACT_SHOT;
}

/* The packet is as it came: its sender is told by the address that it knows, where there is something to tell. */
static __always_inline int refuse_tc(struct __sk_buff *skb, enum drop_reason reason, __u32 mtu,
				     const struct packet *packet, const struct decision *decision,
				     const struct address *from)
{
	count_drop(reason, packet, decision);
	bool silent = is_later_fragment(packet) || !tells(reason);
	return silent ? TC_ACT_SHOT : send_icmp_error(skb, reason, mtu, from);
}

/* The director's address that the sender of a refused packet knows, where it isn't the one that the packet was for. */
static __always_inline const struct address *known_to_sender(const struct decision *decision)
{
	return decision->reason == DROP_NO_CONNECTION && decision->server ? &decision->server->source : NULL;
}

/*
 * The route that led it here is still the packet's own. While it waits for its neighbour's MAC address the kernel would go by that
 * route again. So it comes in by the device first, where it has none.
 */
static __always_inline bool is_leaving(const struct __sk_buff *skb)
{
	return skb->ingress_ifindex != skb->ifindex;
}

/* The host's stack never takes for 127.0.0.0/8 what came from outside. */
static __always_inline enum drop_reason find_program(const struct __sk_buff *skb, const struct sending *sending)
{
	bool unreachable = sending->request && rewrites(sending->method) && is_loopback(&sending->to.destination);
	return unreachable && !is_here(skb) ? DROP_NO_ROUTE : DROP_REASONS;
}

/* What has changed too much of it for the parts of its datagram that have no ports, or a checksum over all of them. */
static __always_inline bool is_fragment_lost(const struct packet *packet, const struct sending *sending)
{
	return unlikely(packet->fragment && (changes_family(sending) || has_other_sctp_ports(sending)));
}

static __always_inline int leave_tc(struct __sk_buff *skb, const struct packet *packet, const struct decision *decision,
				    enum verdict verdict, struct sending *sending)
{
	if (!account(packet, decision, verdict))
		return drop_tc(DROP_ENDED, packet, decision);
	if (sending->ending == ENDS_AS_IT_GOES && !rewrites(sending->method))
		return TC_ACT_OK;
	if (unlikely(has_other_sctp_ports(sending)) && !mend_sctp_checksum(skb, sending))
		return drop_tc(DROP_REWRITE, packet, decision);
	int action = transmit(skb, sending);
	return action == TC_ACT_SHOT ? drop_tc(DROP_REWRITE, packet, decision) : action;
}

/* Is it for a program on the director itself: the real server of a request, the client of a reply? */
static __always_inline bool ends_here(const struct decision *decision, enum verdict verdict)
{
	return unlikely(verdict == VERDICT_REQUEST ? decision->server->local : !!(decision->control & HERE));
}

/* Why a packet can't go on, if so. */
static __always_inline enum drop_reason find_obstacle(struct __sk_buff *skb, const struct packet *packet,
						      const struct decision *decision, struct sending *sending)
{
	if (!sending->ttl_done && packet->ttl <= 1)
		return DROP_TTL_EXCEEDED;
	return sending->ending != ENDS_ELSEWHERE ? find_program(skb, sending)
						 : find_exit(skb, decision->server, sending);
}

/* As IPVS does: a request that can't go on is its connection's all the same, but no reply gets to IPVS that routing refuses. */
static __always_inline int refuse_to_forward(struct __sk_buff *skb, enum drop_reason reason,
					     const struct packet *packet, const struct decision *decision,
					     const struct sending *sending)
{
	if (!sending->request)
		return refuse_tc(skb, reason, sending->mtu, packet, decision, &decision->server->source);
	if (!account(packet, decision, VERDICT_REQUEST))
		return drop_tc(DROP_ENDED, packet, decision);
	return refuse_tc(skb, reason, sending->mtu, packet, decision, NULL);
}

/* Send a packet on as it was decided. */
static __always_inline int forward_tc(struct __sk_buff *skb, struct packet *packet, struct decision *decision,
				      enum verdict verdict, bool ttl_done)
{
	__u32 zero = 0;
	struct sending *sending = bpf_map_lookup_elem(&sendings, &zero);
	if (!sending)
		return TC_ACT_SHOT;
	bool here = ends_here(decision, verdict);
	prepare(skb, packet, decision, verdict, sending);
	sending->ending = here ? ending_here(skb, sending->request) : ENDS_ELSEWHERE;
	sending->ttl_done = ttl_done || here;
	if (is_fragment_lost(packet, sending))
		return drop_tc(DROP_FRAGMENT, packet, decision);
	enum drop_reason reason = find_obstacle(skb, packet, decision, sending);
	if (reason != DROP_REASONS)
		return refuse_to_forward(skb, reason, packet, decision, sending);
	if (ttl_done && !here && unlikely(sending->unresolved) && is_leaving(skb))
		return TC_ACT_OK;
	return leave_tc(skb, packet, decision, verdict, sending);
}

static __always_inline int act_on_fragment(enum fragment_fate fate, const struct packet *packet,
					   const struct decision *decision)
{
	if (fate == FRAGMENT_PASSES)
		return TC_ACT_OK;
	return fate == FRAGMENT_HELD ? TC_ACT_STOLEN : drop_tc(DROP_FRAGMENT, packet, decision);
}

/* What a program on the director has sent to the marks' device never came in by another one. */
static __always_inline enum place_met place_of_meeting(const struct __sk_buff *skb, bool led)
{
	return is_here(skb) || (led && !skb->ingress_ifindex) ? MET_HERE : MET_LAST;
}

/* `led`: to the marks' device, by the kernel, which has counted this hop. Errors and fragments were met before that, at ingress. */
static __always_inline int balance_tc(struct __sk_buff *skb, bool led)
{
	struct packet packet;
	struct decision decision = {};
	if (skb->vlan_present)
		return TC_ACT_OK;
	enum parsed parsed = parse_tc(skb, &packet);
	if (parsed == PARSED_NOT_OURS)
		return TC_ACT_OK;
	if (unlikely(packet.ipv4 && packet.options) && is_source_routed(skb, packet.options))
		return TC_ACT_OK;
	if (parsed == PARSED_ICMP)
		return led ? TC_ACT_OK : balance_icmp(skb, packet.l4_offset);
	if (unlikely(packet.fragment)) {
		enum fragment_fate fate = meet_fragment(skb, &packet);
		if (fate != FRAGMENT_GOES_ON)
			return act_on_fragment(fate, &packet, &decision);
	}
	enum verdict verdict = unlikely(packet.fragment) && was_scheduled(&packet, &decision)
				       ? VERDICT_REQUEST
				       : decide(&packet, skb->mark, place_of_meeting(skb, led), &decision);
	if (unlikely(is_first_fragment(&packet))) {
		if (led)
			tell_others(&packet, &decision, verdict);
		else if (comes_again(skb, &packet, &decision, verdict))
			return TC_ACT_STOLEN;
	}
	switch (verdict) {
	case VERDICT_PASS:
		return TC_ACT_OK;
	case VERDICT_DROP:
		return drop_tc(decision.reason, &packet, &decision);
	case VERDICT_UNREACHABLE:
		return refuse_tc(skb, decision.reason, 0, &packet, &decision, known_to_sender(&decision));
	case VERDICT_REQUEST:
	case VERDICT_REPLY:
		return !has_server(&decision) ? TC_ACT_OK : forward_tc(skb, &packet, &decision, verdict, led);
	}
	return TC_ACT_SHOT;
}

SEC("tc")
int director_tc(struct __sk_buff *skb)
{
	if (skb->pkt_type != PACKET_HOST || skb->vlan_present)
		return TC_ACT_OK;
	int action = is_here(skb) ? NOT_SENT : send_shortly(skb);
	return likely(action != NOT_SENT) ? action : balance_tc(skb, false);
}

/*
 * On the way out by the device that policy rules lead marked packets to. What can't go on from there, and what is for the host
 * itself, comes in by that device then, where it is met once more.
 */
SEC("tc")
int director_mark(struct __sk_buff *skb)
{
	if (!skb->mark)
		return TC_ACT_SHOT;
	int action = balance_tc(skb, true);
	return action == TC_ACT_OK && is_leaving(skb) ? bpf_redirect(skb->ifindex, BPF_F_INGRESS) : action;
}

/*
 * On the way out of an interface, where the director itself is a real server of NAT: its programs answer as the service. Everything
 * that the director forwards comes by here, too, and is none of those answers.
 */
SEC("tc")
int director_answers(struct __sk_buff *skb)
{
	struct packet packet;
	struct decision decision = {};
	__u32 zero = 0;
	struct sending *sending = bpf_map_lookup_elem(&sendings, &zero);
	struct fragment_work *work = fragment_work();
	if (!sending || !work || skb->vlan_present)
		return TC_ACT_OK;
	enum parsed parsed = parse_tc(skb, &packet);
	if (parsed != PARSED_PORTS && parsed != PARSED_LATER_FRAGMENT)
		return TC_ACT_OK;
	if (unlikely(packet.fragment)) {
		name_datagram(&packet, &work->datagram);
		int known = find_record();
		if (is_later_fragment(&packet) && known != DATAGRAM_OURS)
			return TC_ACT_OK;
		if (is_later_fragment(&packet))
			packet.tuple.ports = work->record.ports;
	}
	if (!find_answer(&packet, &decision) || !has_server(&decision))
		return TC_ACT_OK;
	if (is_first_fragment(&packet))
		tell_others(&packet, &decision, VERDICT_REPLY);
	prepare(skb, &packet, &decision, VERDICT_REPLY, sending);
	sending->ending = ENDS_AS_IT_GOES;
	sending->ttl_done = true;
	return is_fragment_lost(&packet, sending) ? drop_tc(DROP_FRAGMENT, &packet, &decision)
						  : leave_tc(skb, &packet, &decision, VERDICT_REPLY, sending);
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

/* Not inlined, so that it is verified once and not in each turn of the loop below. */
__noinline int sweep_now_part(__u32 part)
{
	sweep_part(part, now_in_ticks());
	return 0;
}

/* Run by the backup's daemon: how many of the connections that a frame tells of are in the table now. */
SEC("tc")
int take_over(struct __sk_buff *skb)
{
	int taken = 0;
	for (__u32 number = 0; number < TOLD_AT_ONCE && (number + 2) * sizeof(struct told) <= skb->len; number++)
		taken += take_told(skb, number);
	return taken;
}

/* For tests, which stop the clock and set it: one whole round of the sweep. */
SEC("tc")
int sweep_now(struct __sk_buff *skb __unused)
{
	for (__u32 part = 0; part < SWEEP_TICKS; part++)
		sweep_now_part(part);
	return 0;
}

/* For tests, which stop the clock: two seconds of rates. */
SEC("tc")
int estimate_now(struct __sk_buff *skb __unused)
{
	for (__u32 part = 0; part < ESTIMATE_TICKS; part++)
		estimate_part(part);
	return 0;
}

/* End the connections that the frame names; the result is how many of them were there. */
SEC("tc")
int end_connections(struct __sk_buff *skb)
{
	int ended = 0;
	for (__u32 i = 0; i < ENDINGS; i++)
		ended += end_named(skb, ENDINGS_AT + i * sizeof(struct named));
	return ended;
}

char _license[] SEC("license") = "Dual BSD/GPL";
