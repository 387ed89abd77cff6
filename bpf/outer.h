/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The outer headers of TUN, as the kernel's IPVS makes them: TTL, TOS and DF are the inner packet's, the source is the director's
 * own address towards the server. IPIP is that of RFC 2003, 2473 and 4213.
 */
#pragma once

#include "forward.h"
#include "wire.h"

enum {
	GUE_SOURCE_PORTS = 0xc000, /* the first of a quarter of all, so that the network can tell flows apart */
	MOST_OUTER = sizeof(struct ipv6hdr) + sizeof(struct udphdr) + sizeof(struct guehdr),
};

enum { IPV4_LEAST_MTU = 68, IPV6_LEAST_MTU = 1280 };

/* What of the inner packet the outer header depends on. */
struct inner {
	__u32 length;
	__u32 hash;
	bool ipv4;
	__u8 ttl; /* one less already */
	__u8 tos;
	bool dont_fragment;
	struct tunnel tunnel; /* how it is to be wrapped */
};

/*
 * The kernel puts GUE's option for remote checksum offload only into packets whose checksum it has left undone itself. Nothing
 * tells us which those are, so here it stands for the outer checksum alone, which is what all others get.
 */
static __always_inline __u32 tunnel_header(const struct tunnel *tunnel)
{
	switch (tunnel->type) {
	case TUNNEL_GRE:
		return sizeof(struct grehdr) + (tunnel->checksum == TUNNEL_NOCSUM ? 0 : GRE_CHECKSUM_BYTES);
	case TUNNEL_GUE:
		return sizeof(struct udphdr) + sizeof(struct guehdr);
	}
	return 0;
}

static __always_inline __u32 outer_length(const struct server *server, const struct tunnel *tunnel)
{
	return (is_ipv4(&server->address) ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + tunnel_header(tunnel);
}

/* How much longer a packet gets. */
static __always_inline __u32 overhead(const struct server *server)
{
	return outer_length(server, &server->tunnel);
}

static __always_inline __u8 outer_tos(__u8 inner)
{
	return (inner & ECN_MASK) == ECN_CE ? (inner & ~ECN_MASK) | ECN_ECT0 : inner;
}

static __always_inline __u8 outer_protocol(const struct inner *inner)
{
	const struct tunnel *tunnel = &inner->tunnel;
	if (tunnel->type == TUNNEL_GUE)
		return IPPROTO_UDP;
	if (tunnel->type == TUNNEL_GRE)
		return IPPROTO_GRE;
	return inner->ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6;
}

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* In whole words: what was written in parts is slow to read again, for the checksum. */
static __always_inline void fill_outer_ipv4(struct iphdr *outer, const struct server *server, const struct inner *inner)
{
	__u32 word[5] = {
		0x45 | outer_tos(inner->tos) << 8 |
			(__u32)bpf_htons(inner->length + outer_length(server, &inner->tunnel)) << 16,
		inner->dont_fragment ? (__u32)bpf_htons(DONT_FRAGMENT) << 16 : (__u16)bpf_get_prandom_u32(),
		inner->ttl | outer_protocol(inner) << 8,
		server->source.word[3],
		server->address.word[3],
	};
	__u32 sum = 0;
#pragma unroll
	for (int i = 0; i < 5; i++)
		sum += (word[i] & 0xffff) + (word[i] >> 16);
	word[2] |= (__u32)(__u16)~folded(sum) << 16;
#pragma unroll
	for (int i = 0; i < 5; i++)
		((__u32 *)outer)[i] = word[i];
}

static __always_inline void fill_outer_ipv6(struct ipv6hdr *outer, const struct server *server,
					    const struct inner *inner)
{
	outer->flow = bpf_htonl(0x60000000 | (__u32)outer_tos(inner->tos) << 20);
	outer->payload_len = bpf_htons(inner->length + tunnel_header(&inner->tunnel));
	outer->nexthdr = outer_protocol(inner);
	outer->hop_limit = inner->ttl;
#pragma unroll
	for (int i = 0; i < 4; i++) {
		outer->saddr[i] = server->source.word[i];
		outer->daddr[i] = server->address.word[i];
	}
}

static __always_inline void fill_gre(struct grehdr *gre, const struct inner *inner)
{
	gre->flags = inner->tunnel.checksum != TUNNEL_NOCSUM ? bpf_htons(GRE_CHECKSUM) : 0;
	gre->protocol = inner->ipv4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
}

static __always_inline void fill_gue(struct udphdr *udp, struct guehdr *gue, const struct inner *inner)
{
	const struct tunnel *tunnel = &inner->tunnel;
	udp->source = bpf_htons(GUE_SOURCE_PORTS | (inner->hash & (0xffff ^ GUE_SOURCE_PORTS)));
	udp->dest = tunnel->port;
	udp->len = bpf_htons(inner->length + tunnel_header(tunnel));
	udp->check = 0;
	gue->form = 0;
	gue->protocol = inner->ipv4 ? IPPROTO_IPIP : IPPROTO_IPV6;
	gue->flags = 0;
}

static __always_inline struct inner inner_of(const struct packet *packet)
{
	struct inner inner = {
		.length = packet->length, .ttl = packet->ttl - 1, .tos = packet->tos, .ipv4 = packet->ipv4};
	__u32 hash = packet->tuple.source.word[3] * 0x9e3779b1 ^ packet->tuple.ports;
	inner.hash = hash ^ hash >> 16;
	inner.dont_fragment = packet->dont_fragment && knob(KNOB_PMTU_DISC);
	return inner;
}
