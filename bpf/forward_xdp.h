/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The fast path: frames are changed in place. What it can't do right goes up to the tc program, before anything is counted. */
#pragma once

#include "forward.h"

struct way {
	__u64 destination_mac;
	__u64 source_mac;
	__u32 interface;
};

/* Null for one that the director is not attached to. */
static __always_inline struct interface *interface_at(__u32 index)
{
	__u32 slot = index % INTERFACES;
	struct interface *interface = bpf_map_lookup_elem(&interfaces, &slot);
	return interface && interface->index == index ? interface : NULL;
}

static __always_inline bool same_mac(const __u8 *a, const __u8 *b)
{
	return *(const __u32 *)a == *(const __u32 *)b && *(const __u16 *)(a + 4) == *(const __u16 *)(b + 4);
}

/* Frames for other stations, seen because the interface is promiscuous, are not ours. */
static __always_inline bool for_this_host(const struct interface *interface, const struct ethhdr *eth)
{
	return interface && same_mac(interface->mac, eth->h_dest);
}

/*
 * A server's next hop is remembered for a second; then one packet goes up to tc, which sends it through the kernel's neighbour
 * table (so that the neighbour is probed as always) and remembers anew.
 */
static __always_inline bool way_to_server(const struct packet *packet, const struct decision *decision, struct way *way)
{
	const struct next_hop *hop = &decision->server->next_hop;
	if (!remembers(hop) || packet->length > READ_ONCE(hop->mtu))
		return false;
	way->destination_mac = READ_ONCE(hop->destination_mac);
	way->source_mac = READ_ONCE(hop->source_mac);
	way->interface = next_hop_interface(way->destination_mac, way->source_mac);
	return true;
}

/* The headers are found again: so nothing of the fast path has to be in memory. */
static __noinline int look_up_client(struct xdp_md *ctx, const struct address *vip, struct way *way)
{
	struct iphdr *ip = (void *)(long)ctx->data + sizeof(struct ethhdr);
	if (!way || (void *)(ip + 1) > (void *)(long)ctx->data_end)
		return false;
	struct bpf_fib_lookup fib = {.tot_len = bpf_ntohs(ip->tot_len)};
	struct address client = ipv4_address(ip->daddr);
	if (look_up_route(ctx, &fib, vip, &client, ctx->ingress_ifindex) != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	way->destination_mac = mac_to_u64(fib.dmac);
	way->source_mac = mac_to_u64(fib.smac);
	way->interface = fib.ifindex;
	return true;
}

/* For the same reason the first answer of a connection goes through tc, and one answer of each server every second. */
static __always_inline bool way_to_client(struct xdp_md *ctx, const struct packet *packet,
					  const struct decision *decision, struct way *way)
{
	struct way found = {};
	struct next_hop *hop = &decision->server->next_hop;
	if (packet->tcp_flags & TCP_SYN)
		return false;
	if (due(READ_ONCE(hop->answers_until), now_in_ticks())) {
		WRITE_ONCE(hop->answers_until, now_in_ticks() + TICKS_A_SECOND);
		return false;
	}
	if (!look_up_client(ctx, &decision->server->service_key.vip, &found))
		return false;
	*way = found;
	return true;
}

static __always_inline __u16 checksum_plus(__u16 checksum, __u32 difference)
{
	__u32 sum = (__u16)~checksum + (difference & 0xffff) + (difference >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* What replacing one 32-bit word does to a ones' complement sum, folded to less than 18 bits. */
static __always_inline __u32 difference_of(__be32 from, __be32 to)
{
	return (~from & 0xffff) + (~from >> 16) + (to & 0xffff) + (to >> 16);
}

static __always_inline void rewrite_xdp(struct packet *packet, struct rewriting to, enum verdict verdict)
{
	__be32 *address = verdict == VERDICT_REQUEST ? &packet->ip->daddr : &packet->ip->saddr;
	__be16 *port = &packet->ports[verdict == VERDICT_REQUEST];
	__u32 address_difference = difference_of(*address, to.address);
	__u32 difference = address_difference + difference_of(*port, to.port);
	if (packet->tcp) {
		packet->tcp->check = checksum_plus(packet->tcp->check, difference);
	} else if (packet->udp && packet->udp->check) {
		__u16 check = checksum_plus(packet->udp->check, difference);
		packet->udp->check = check ? check : 0xffff;
	}
	packet->ip->check = checksum_plus(packet->ip->check, address_difference);
	*address = to.address;
	*port = to.port;
}

static __always_inline int forward_xdp(struct xdp_md *ctx, struct interface *in, struct packet *packet,
				       struct decision *decision, enum verdict verdict)
{
	struct way way;
	if (packet->ip->ttl <= 1)
		return XDP_PASS;
	if (!(verdict == VERDICT_REQUEST ? way_to_server(packet, decision, &way)
					 : way_to_client(ctx, packet, decision, &way)))
		return XDP_PASS;
	struct interface *out = likely(way.interface == in->index) ? in : interface_at(way.interface);
	if (!out || out->xdp_sending == XDP_SENDING_NOT)
		return XDP_PASS;
	if (!account(packet, decision, verdict))
		return XDP_PASS;
	if (decision->rewrite)
		rewrite_xdp(packet, rewriting_of(decision, verdict), verdict);
	decrement_ttl(packet->ip);
	*(__u64 *)packet->eth = (way.destination_mac & MAC_MASK) | way.source_mac << 48;
	*(__u32 *)((void *)packet->eth + 8) = way.source_mac >> 16;
	if (way.interface == ctx->ingress_ifindex && out->xdp_sending == XDP_SENDING_DIRECT)
		return XDP_TX;
	return bpf_redirect(way.interface, 0);
}
