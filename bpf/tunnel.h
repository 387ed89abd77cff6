/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What a tunnel's packet is, as far as its headers tell: IPIP, GRE or GUE, and the IP packet in it. Nothing is changed. */
#pragma once

#include "parse.h"
#include "realserver.h"
#include "wire.h"

struct tunnelled {
	struct address source; /* of the outer packet */
	struct address destination;
	struct address target; /* the inner packet's destination */
	__u32 transport;       /* offset of the outer packet's transport header in the frame */
	__u32 end;	       /* of the outer packet */
	__u32 offset;	       /* of the inner packet */
	__u32 length;	       /* of it */
	__u32 header;	       /* of its IP header, without IPv6's extensions */
	__u16 remcsum_start;
	__u16 remcsum_offset;
	__u8 protocol; /* the inner packet's */
	__u8 type;
	__u8 ecn; /* the outer packet's */
	__u8 inner_ecn;
	bool ipv6; /* the outer packet is */
	bool inner_ipv6;
	bool fragment;
	bool later;	    /* not the first of its datagram */
	bool fragment_more; /* not the last */
	__u8 outer_protocol;
	__u16 fragment_at; /* where in the datagram it begins */
	__u32 fragment_id;
	bool checksummed; /* the tunnel has a checksum of its own */
	bool remcsum;
};

enum shape {
	SHAPE_NO_TUNNEL,
	SHAPE_UNUSUAL, /* a tunnel, but not as a director sends it */
	SHAPE_TUNNEL,
};

static __always_inline __u16 fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The kernel would check it before it took the header off. */
static __always_inline bool has_right_checksum(const struct iphdr *ip)
{
	const __u16 *word = (const __u16 *)ip;
	__u64 sum = 0;
#pragma unroll
	for (int i = 0; i < (int)sizeof(*ip) / 2; i++)
		sum += word[i];
	return fold(sum) == 0xffff;
}

/* The outer IP header, up to the transport header. Options and extension headers are left to the kernel: no director sends any. */
static __always_inline bool parse_outer(struct cursor *cursor, __u32 size, __be16 kind, struct tunnelled *tunnelled,
					__u8 *protocol)
{
	if (kind == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = take(cursor, struct iphdr);
		if (!ip || ip->version != 4 || ip->ihl != 5)
			return false;
		*protocol = ip->protocol;
		tunnelled->ipv6 = false;
		tunnelled->source = ipv4_address(ip->saddr);
		tunnelled->destination = ipv4_address(ip->daddr);
		tunnelled->ecn = ip->tos & ECN_MASK;
		tunnelled->fragment = ip->frag_off & bpf_htons(FRAGMENT_OFFSET_OR_MORE);
		tunnelled->later = ip->frag_off & bpf_htons(FRAGMENT_OFFSET);
		tunnelled->fragment_more = ip->frag_off & bpf_htons(MORE_FRAGMENTS);
		tunnelled->fragment_at = bpf_ntohs(ip->frag_off) << 3;
		tunnelled->fragment_id = ip->id;
		tunnelled->transport = sizeof(struct ethhdr) + sizeof(*ip);
		tunnelled->end = sizeof(struct ethhdr) + bpf_ntohs(ip->tot_len);
		return tunnelled->end <= size && has_right_checksum(ip);
	}
	struct ipv6hdr *ip6 = take(cursor, struct ipv6hdr);
	if (!ip6 || (ip6->flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return false;
	*protocol = ip6->nexthdr;
	tunnelled->ipv6 = true;
	tunnelled->source = ipv6_address(ip6->saddr);
	tunnelled->destination = ipv6_address(ip6->daddr);
	tunnelled->ecn = bpf_ntohl(ip6->flow) >> 20 & ECN_MASK;
	tunnelled->transport = sizeof(struct ethhdr) + sizeof(*ip6);
	tunnelled->end = tunnelled->transport + bpf_ntohs(ip6->payload_len);
	if (*protocol == IPPROTO_FRAGMENT) {
		struct frag_hdr *fragment = take(cursor, struct frag_hdr);
		if (!fragment)
			return false;
		*protocol = fragment->nexthdr;
		tunnelled->fragment = true;
		tunnelled->later = fragment->frag_off & bpf_htons(FRAGMENT_OFFSET6);
		tunnelled->fragment_more = fragment->frag_off & bpf_htons(MORE_FRAGMENTS6);
		tunnelled->fragment_at = bpf_ntohs(fragment->frag_off) & FRAGMENT_OFFSET6;
		tunnelled->fragment_id = fragment->identification;
	}
	return tunnelled->end <= size;
}

static __always_inline enum shape parse_gre(struct cursor *cursor, struct tunnelled *tunnelled)
{
	struct grehdr *gre = take(cursor, struct grehdr);
	if (!gre || gre->flags & ~bpf_htons(GRE_CHECKSUM))
		return SHAPE_UNUSUAL;
	tunnelled->type = TUNNEL_GRE;
	tunnelled->checksummed = gre->flags;
	tunnelled->inner_ipv6 = gre->protocol == bpf_htons(ETH_P_IPV6);
	tunnelled->offset = tunnelled->transport + sizeof(*gre);
	if (!tunnelled->inner_ipv6 && gre->protocol != bpf_htons(ETH_P_IP))
		return SHAPE_UNUSUAL;
	if (tunnelled->checksummed) {
		if (!take_bytes(cursor, GRE_CHECKSUM_BYTES))
			return SHAPE_UNUSUAL;
		tunnelled->offset += GRE_CHECKSUM_BYTES;
	}
	return SHAPE_TUNNEL;
}

static __always_inline bool is_gue_port(const struct realserver_settings *settings, __be16 port)
{
	bool found = false;
#pragma unroll
	for (int i = 0; i < GUE_PORTS; i++)
		found |= port == settings->gue_port[i];
	return found && port;
}

static __always_inline enum shape parse_gue(struct cursor *cursor, struct tunnelled *tunnelled)
{
	struct guehdr *gue = take(cursor, struct guehdr);
	if (!gue)
		return SHAPE_UNUSUAL;
	tunnelled->type = TUNNEL_GUE;
	tunnelled->inner_ipv6 = gue->protocol == IPPROTO_IPV6;
	tunnelled->offset = tunnelled->transport + sizeof(struct udphdr) + sizeof(*gue);
	if (!tunnelled->inner_ipv6 && gue->protocol != IPPROTO_IPIP)
		return SHAPE_UNUSUAL;
	if (!gue->form && !gue->flags)
		return SHAPE_TUNNEL;
	if (gue->form != GUE_PRIVATE_WORDS || gue->flags != bpf_htons(GUE_PRIVATE))
		return SHAPE_UNUSUAL;
	struct gue_private *private = take(cursor, struct gue_private);
	if (!private || private->flags != bpf_htonl(GUE_REMCSUM))
		return SHAPE_UNUSUAL;
	tunnelled->remcsum = true;
	tunnelled->remcsum_start = bpf_ntohs(private->start);
	tunnelled->remcsum_offset = bpf_ntohs(private->offset);
	tunnelled->offset += sizeof(*private);
	return SHAPE_TUNNEL;
}

/*
 * The tunnel's own header. Of UDP only a datagram to a port of GUE is a tunnel at all; a later fragment has no port, so it is one if
 * its first one was.
 */
static __always_inline enum shape parse_tunnel(struct cursor *cursor, const struct realserver_settings *settings,
					       __u8 protocol, struct tunnelled *tunnelled)
{
	if (protocol == IPPROTO_IPIP || protocol == IPPROTO_IPV6) {
		tunnelled->type = TUNNEL_IPIP;
		tunnelled->inner_ipv6 = protocol == IPPROTO_IPV6;
		tunnelled->offset = tunnelled->transport;
		return SHAPE_TUNNEL;
	}
	if (protocol == IPPROTO_GRE) {
		tunnelled->type = TUNNEL_GRE;
		return tunnelled->fragment ? SHAPE_TUNNEL : parse_gre(cursor, tunnelled);
	}
	if (protocol != IPPROTO_UDP)
		return SHAPE_NO_TUNNEL;
	tunnelled->type = TUNNEL_GUE;
	if (tunnelled->later)
		return SHAPE_TUNNEL;
	struct udphdr *udp = take(cursor, struct udphdr);
	if (!udp || !is_gue_port(settings, udp->dest))
		return SHAPE_NO_TUNNEL;
	if (tunnelled->fragment)
		return SHAPE_TUNNEL;
	tunnelled->checksummed = udp->check;
	if (tunnelled->transport + bpf_ntohs(udp->len) != tunnelled->end)
		return SHAPE_UNUSUAL;
	return parse_gue(cursor, tunnelled);
}

/* The inner packet's IP header; false where there is none. Its length is not yet believed. */
static __always_inline bool parse_inner(struct cursor *cursor, struct tunnelled *tunnelled)
{
	if (tunnelled->inner_ipv6) {
		struct ipv6hdr *ip6 = take(cursor, struct ipv6hdr);
		if (!ip6 || (ip6->flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
			return false;
		tunnelled->target = ipv6_address(ip6->daddr);
		tunnelled->header = sizeof(*ip6);
		tunnelled->length = sizeof(*ip6) + bpf_ntohs(ip6->payload_len);
		tunnelled->protocol = ip6->nexthdr;
		tunnelled->inner_ecn = bpf_ntohl(ip6->flow) >> 20 & ECN_MASK;
		return !is_ipv4(&tunnelled->target);
	}
	struct iphdr *ip = take(cursor, struct iphdr);
	if (!ip || ip->version != 4 || ip->ihl < 5)
		return false;
	tunnelled->target = ipv4_address(ip->daddr);
	tunnelled->header = ip->ihl * 4;
	tunnelled->length = bpf_ntohs(ip->tot_len);
	tunnelled->protocol = ip->protocol;
	tunnelled->inner_ecn = ip->tos & ECN_MASK;
	return true;
}
