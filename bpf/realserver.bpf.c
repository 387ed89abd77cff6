// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The real server's half of LVS-TUN. What a director sends in a tunnel is taken out of it as it comes in, so that the host
 * needs no tunnel device, and what the VIP answers is kept small enough for the way back in.
 * Whatever is not surely ours goes on as it came, to the next filter (TC_ACT_UNSPEC).
 */
#include "assemble.h"
#include "clamp.h"
#include "decapsulate.h"
#include "remcsum.h"

/* An enum that no map refers to is not in the object's type information: this keeps those that Python needs. */
const volatile enum realserver_counter for_python;

/* The largest headers that are looked at directly: Ethernet, IPv6, UDP, GUE with its option, IPv6. */
enum {
	DIRECT = sizeof(struct ethhdr) + 2 * sizeof(struct ipv6hdr) + sizeof(struct udphdr) + sizeof(struct guehdr) +
	sizeof(struct gue_private)
};

enum verdict { VERDICT_LEAVE, VERDICT_COUNT, VERDICT_DROP, VERDICT_TAKE, VERDICT_ASSEMBLE };

static __always_inline bool is_tunnel_protocol(__u8 protocol)
{
	return protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6 || protocol == IPPROTO_GRE;
}

/* A later fragment of UDP doesn't say whether it is in a tunnel. */
static __always_inline bool may_be_a_programs(const struct tunnelled *tunnelled)
{
	return tunnelled->later && tunnelled->outer_protocol == IPPROTO_UDP;
}

/* From here on the packet is for a VIP of ours, in a tunnel to us: it is taken or dropped. */
static __always_inline enum verdict decide_inner(const struct tunnelled *tunnelled, bool segments, __u32 *counter)
{
	*counter = COUNT_DROP_LENGTH;
	if (tunnelled->length < tunnelled->header || tunnelled->offset + tunnelled->length > tunnelled->end)
		return VERDICT_DROP;
	*counter = COUNT_DROP_NESTED;
	if (is_tunnel_protocol(tunnelled->protocol))
		return VERDICT_DROP;
	*counter = COUNT_DROP_ECN;
	if (tunnelled->ecn == ECN_CE && !tunnelled->inner_ecn)
		return VERDICT_DROP;
	*counter = COUNT_DROP_DATAGRAMS; /* it would still be marked as a tunnel's, and segmented as one */
	if (segments && tunnelled->type == TUNNEL_GUE && tunnelled->protocol == IPPROTO_UDP)
		return VERDICT_DROP;
	*counter = tunnelled->type == TUNNEL_IPIP ? COUNT_IPIP : tunnelled->type == TUNNEL_GUE ? COUNT_GUE : COUNT_GRE;
	return VERDICT_TAKE;
}

static __always_inline enum verdict decide(struct __sk_buff *skb, const struct realserver_settings *settings,
					   struct tunnelled *tunnelled, __u32 *counter)
{
	struct cursor cursor = {(void *)(long)skb->data, (void *)(long)skb->data_end};
	struct ethhdr *eth = take(&cursor, struct ethhdr);
	__u8 protocol = 0;
	if (!eth || !parse_outer(&cursor, skb->len, skb->protocol, tunnelled, &protocol))
		return VERDICT_LEAVE;
	enum shape shape = parse_tunnel(&cursor, settings, protocol, tunnelled);
	if (shape == SHAPE_NO_TUNNEL || !(settings->tunnels & 1 << tunnelled->type) ||
	    !is_a(&tunnelled->destination, ADDRESS_RIP))
		return VERDICT_LEAVE;
	tunnelled->outer_protocol = protocol;
	*counter = COUNT_LEFT_STRANGER;
	if (settings->only_directors && !is_a(&tunnelled->source, ADDRESS_DIRECTOR))
		return may_be_a_programs(tunnelled) ? VERDICT_LEAVE : VERDICT_COUNT;
	if (tunnelled->fragment)
		return VERDICT_ASSEMBLE;
	*counter = COUNT_LEFT_HEADER;
	if (shape == SHAPE_UNUSUAL || !parse_inner(&cursor, tunnelled))
		return VERDICT_COUNT;
	*counter = COUNT_LEFT_NOT_VIP;
	if (!is_a(&tunnelled->target, ADDRESS_VIP))
		return VERDICT_COUNT;
	return decide_inner(tunnelled, skb->gso_size, counter);
}

static __always_inline int drop(__u32 why)
{
	count(why);
	return TC_ACT_SHOT;
}

/* The inner packet is the host's own now: no filter behind this one, such as a director's, is to schedule it again. */
static __always_inline int take_in(struct __sk_buff *skb, const struct tunnelled *tunnelled, __u32 counter)
{
	if (tunnelled->remcsum) {
		int failed = settle_checksum(skb, tunnelled);
		if (failed != REALSERVER_COUNTERS)
			return drop(failed);
	}
	if (tunnelled->ecn == ECN_CE && tunnelled->inner_ecn != ECN_CE && !mark_congestion(skb, tunnelled))
		return drop(COUNT_DROP_REWRITE);
	if (!take_outer_off(skb, tunnelled))
		return drop(COUNT_DROP_REWRITE);
	count(counter);
	return TC_ACT_OK;
}

/* Once it is whole the packet comes in again. */
static __always_inline int take_fragment(struct __sk_buff *skb, const struct tunnelled *tunnelled)
{
	switch (assemble(skb, tunnelled)) {
	case ASSEMBLED_PART:
		return TC_ACT_STOLEN;
	case ASSEMBLED_WHOLE:
		count(COUNT_ASSEMBLED);
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	}
	if (!may_be_a_programs(tunnelled))
		count(COUNT_LEFT_FRAGMENT);
	return TC_ACT_UNSPEC;
}

SEC("tc")
int realserver_in(struct __sk_buff *skb)
{
	__u32 zero = 0, counter = 0;
	struct realserver_settings *settings = bpf_map_lookup_elem(&rs_settings, &zero);
	struct tunnelled tunnelled = {};
	if (!settings || skb->pkt_type != PACKET_HOST || skb->vlan_present ||
	    (skb->protocol != bpf_htons(ETH_P_IP) && skb->protocol != bpf_htons(ETH_P_IPV6)))
		return TC_ACT_UNSPEC;
	if (skb->data_end - skb->data < DIRECT && skb->data_end - skb->data < skb->len)
		bpf_skb_pull_data(skb, skb->len < DIRECT ? skb->len : DIRECT);
	switch (decide(skb, settings, &tunnelled, &counter)) {
	case VERDICT_LEAVE:
		return TC_ACT_UNSPEC;
	case VERDICT_COUNT:
		count(counter);
		return TC_ACT_UNSPEC;
	case VERDICT_DROP:
		return drop(counter);
	case VERDICT_TAKE:
		return take_in(skb, &tunnelled, counter);
	case VERDICT_ASSEMBLE:
		return take_fragment(skb, &tunnelled);
	}
	return TC_ACT_UNSPEC;
}

SEC("tc")
int realserver_out(struct __sk_buff *skb)
{
	__u32 zero = 0, tcp_at = 0, options = 0;
	struct realserver_settings *settings = bpf_map_lookup_elem(&rs_settings, &zero);
	__u16 limit = settings ? parse_syn(skb, settings, &tcp_at, &options) : 0;
	if (limit) {
		int mss_at = find_mss(skb, tcp_at + sizeof(struct tcphdr), options);
		if (mss_at > 0)
			clamp(skb, tcp_at, mss_at, limit);
	}
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
