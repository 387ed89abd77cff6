/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The complete path: the kernel's helpers keep checksum offloads right, and its neighbour table finds the MAC. */
#pragma once

#include "forward.h"

enum {
	MAX_OPTIONS = 40,
	OPTION_END = 0,
	OPTION_NOTHING = 1,
	OPTION_LOOSE_ROUTE = 131,
	OPTION_STRICT_ROUTE = 137,
};

/* Must a packet go by a way of its own choice? The host's stack knows whether that is allowed, so it gets such packets. */
__noinline int is_source_routed(struct __sk_buff *skb, __u32 length)
{
	for (__u32 i = 0, next = 0; i < MAX_OPTIONS && i < length; i++) {
		struct {
			__u8 kind;
			__u8 length; /* there is always a byte behind a kind: the transport header comes after the options */
		} option;
		if (i < next)
			continue;
		if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr) + sizeof(struct iphdr) + i, &option, sizeof(option)))
			return true;
		if (option.kind == OPTION_LOOSE_ROUTE || option.kind == OPTION_STRICT_ROUTE)
			return true;
		if (option.kind == OPTION_END)
			return false;
		next = option.kind == OPTION_NOTHING ? i + 1 : i + option.length;
		if (next == i)
			return true; /* an option without a length goes on for ever */
	}
	return false;
}

struct exit {
	__u32 interface;
	__be32 gateway;
};

/* The route, if it may be asked: the kernel answers only where it forwards. */
static __noinline int look_up_exit(struct __sk_buff *skb, struct server *server, enum verdict verdict, __u32 length,
				   struct exit *exit)
{
	struct iphdr *ip = (void *)(long)skb->data + sizeof(struct ethhdr);
	if (!server || !exit || (void *)(ip + 1) > (void *)(long)skb->data_end)
		return DROP_NO_ROUTE;
	struct bpf_fib_lookup fib = {.tot_len = length};
	bool reply = verdict == VERDICT_REPLY;
	__be32 source = reply ? server->service_key.vip.word[3] : 0;
	__be32 destination = reply ? ip->daddr : server->address.word[3];
	long result = look_up_route(skb, &fib, source, destination, skb->ifindex);
	exit->interface = fib.ifindex;
	exit->gateway = fib.ipv4_dst;
	if (result == BPF_FIB_LKUP_RET_SUCCESS) {
		if (!reply)
			remember_next_hop(server, &fib, now_in_ticks());
		return DROP_REASONS;
	}
	if (result == BPF_FIB_LKUP_RET_NO_NEIGH)
		return DROP_REASONS;
	if (result == BPF_FIB_LKUP_RET_FRAG_NEEDED)
		return DROP_TOO_BIG;
	if (reply || !server->interface)
		return DROP_NO_ROUTE;
	exit->interface = server->interface;
	exit->gateway = server->address.word[3];
	return DROP_REASONS;
}

static __always_inline int find_exit(struct __sk_buff *skb, const struct packet *packet, struct server *server,
				     enum verdict verdict, struct exit *exit)
{
	const struct next_hop *hop = &server->next_hop;
	/* of what is to be segmented, a segment has to fit */
	__u32 length = skb->gso_size ? skb->gso_size + packet->headers : packet->length;
	if (verdict == VERDICT_REPLY || !remembers(hop))
		return look_up_exit(skb, server, verdict, length, exit);
	exit->interface = next_hop_interface(READ_ONCE(hop->destination_mac), READ_ONCE(hop->source_mac));
	exit->gateway = server->gateway.word[3];
	return length > READ_ONCE(hop->mtu) ? DROP_TOO_BIG : DROP_REASONS;
}

static __always_inline bool rewrite_tc(struct __sk_buff *skb, const struct packet *packet, struct rewriting to,
				       enum verdict verdict)
{
	bool request = verdict == VERDICT_REQUEST;
	bool udp = packet->tuple.protocol == IPPROTO_UDP;
	__be32 from = request ? packet->ip->daddr : packet->ip->saddr;
	__be16 from_port = packet->ports[request];
	__u32 l4 = packet->l4_offset;
	__u32 address_at =
		sizeof(struct ethhdr) + (request ? offsetof(struct iphdr, daddr) : offsetof(struct iphdr, saddr));
	__u32 port_at = l4 + (request ? offsetof(struct udphdr, dest) : offsetof(struct udphdr, source));
	__u32 check_at = l4 + (udp ? offsetof(struct udphdr, check) : offsetof(struct tcphdr, check));
	__u64 zero_means_none = udp ? BPF_F_MARK_MANGLED_0 : 0;

	return !bpf_l4_csum_replace(skb, check_at, from, to.address, BPF_F_PSEUDO_HDR | zero_means_none | 4) &&
	       (from_port == to.port || !bpf_l4_csum_replace(skb, check_at, from_port, to.port, zero_means_none | 2)) &&
	       !bpf_l3_csum_replace(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, check), from, to.address, 4) &&
	       !bpf_skb_store_bytes(skb, address_at, &to.address, sizeof(to.address), 0) &&
	       (from_port == to.port || !bpf_skb_store_bytes(skb, port_at, &to.port, sizeof(to.port), 0));
}

/* `hop`: the packet's time to live is to go down here. */
static __always_inline enum drop_reason send_tc(struct __sk_buff *skb, struct packet *packet, struct decision *decision,
						enum verdict verdict, bool hop, int *action)
{
	struct exit exit;
	if (hop && packet->ip->ttl <= 1)
		return DROP_TTL_EXCEEDED;
	enum drop_reason reason = find_exit(skb, packet, decision->server, verdict, &exit);
	if (reason != DROP_REASONS)
		return reason;
	if (!account(packet, decision, verdict))
		return DROP_ENDED;
	if (hop)
		decrement_ttl(packet->ip);
	if (decision->rewrite && !rewrite_tc(skb, packet, rewriting_of(decision, verdict), verdict))
		return DROP_REWRITE;
	struct bpf_redir_neigh next = {.nh_family = AF_INET, .ipv4_nh = exit.gateway};
	*action = bpf_redirect_neigh(exit.interface, &next, sizeof(next), 0);
	return DROP_REASONS;
}
