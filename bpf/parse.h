/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A frame becomes a `struct packet`, once. Here, and only here, anything is compared with the frame's end. What a packet says are
 * plain numbers: so the verifier has one state to follow from here on, and not one for each kind of header.
 */
#pragma once

#include "director.h"

struct packet {
	struct tuple tuple;
	__u32 length;	   /* of layer 3 */
	__u32 l4_offset;   /* from the start of the frame */
	__u32 headers;	   /* bytes of layers 3 and 4 */
	__u32 fragment_id; /* of a fragment, as it lies in the packet */
	__u8 options;	   /* how many bytes of them the IP header has: IPv4's options, IPv6's extension headers */
	__u16 tcp_flags;   /* SCTP: its event, see sctp.h; or one of the two below */
	__u8 tcp_header;   /* bytes of it, 0 where there is none */
	__u8 ttl;
	bool ipv4;
	bool fragment;
	__u8 tos; /* this and the next are read by themselves, where they are needed */
	bool dont_fragment;
};

/* Where its headers lie, for those that change them there. */
struct frame {
	struct ethhdr *eth;
	struct iphdr *ip; /* this or the next, the other is null: so the verifier knows how much is there */
	struct ipv6hdr *ip6;
	struct tcphdr *tcp; /* of these two, too */
	struct udphdr *udp;
	__be16 *ports;
};

/* A later fragment: the flags are in its datagram's first one. SCTP without a chunk. To the state machines neither is an event. */
enum { NO_FLAGS = 0x100, NO_CHUNK = 0x200 };

static __always_inline bool is_later_fragment(const struct packet *packet)
{
	return packet->tcp_flags & NO_FLAGS;
}

static __always_inline bool is_first_fragment(const struct packet *packet)
{
	return packet->fragment && !is_later_fragment(packet);
}

enum parsed {
	PARSED_NOT_OURS,
	PARSED_PORTS,	       /* a whole TCP, UDP or SCTP header, so that there is a tuple */
	PARSED_LATER_FRAGMENT, /* the tuple lacks its ports: they are in the datagram's first fragment */
	PARSED_ICMP,	       /* the tuple has no ports */
};

struct cursor {
	void *position;
	void *end;
};

static __always_inline void *take_bytes(struct cursor *cursor, __u32 size)
{
	void *taken = cursor->position;
	if (taken + size > cursor->end)
		return NULL;
	cursor->position = taken + size;
	return taken;
}
#define take(cursor, type) ((type *)take_bytes(cursor, sizeof(type)))

enum { FRAGMENT_OFFSET_OR_MORE = 0x3fff, FRAGMENT_OFFSET = 0x1fff, DONT_FRAGMENT = 0x4000 };
enum { FRAGMENT_OFFSET_OR_MORE6 = 0xfff9, FRAGMENT_OFFSET6 = 0xfff8 };
enum { MORE_FRAGMENTS = 0x2000, MORE_FRAGMENTS6 = 1 };
enum { IPV4_MAPPED = 0xffff0000 }; /* the word before the address, as memory has it */
enum { EXTENSIONS = 3, EXTENSION_BYTES = 64 };

static __always_inline struct address ipv4_address(__be32 address)
{
	return (struct address){.half = {0, (__u64)address << 32 | IPV4_MAPPED}};
}

static __always_inline bool is_ipv4(const struct address *address)
{
	return !address->half[0] && address->word[2] == IPV4_MAPPED;
}

static __always_inline bool same_address(const struct address *a, const struct address *b)
{
	return !((a->half[0] ^ b->half[0]) | (a->half[1] ^ b->half[1]));
}

/* A header of IPv6 lies on two bytes only, as the kernel aligns frames for IPv4; BPF on x86 and arm64 reads it all the same. */
static __always_inline struct address ipv6_address(const __be32 *words)
{
	struct address address;
	address.word[0] = words[0];
	address.word[1] = words[1];
	address.word[2] = words[2];
	address.word[3] = words[3];
	return address;
}

/* Layer 4, of which `payload` bytes are said to be there. */
static __always_inline enum parsed parse_transport(struct cursor *cursor, __u8 protocol, __u32 header, __u32 payload,
						   struct packet *packet, struct frame *frame, bool plain)
{
	frame->tcp = NULL;
	frame->udp = NULL;
	packet->tcp_flags = 0;
	packet->tcp_header = 0;
	packet->tuple.protocol = protocol;
	packet->l4_offset = sizeof(struct ethhdr) + header;
	if (protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = take(cursor, struct tcphdr);
		if (!tcp || tcp->doff < 5 || payload < tcp->doff * 4U)
			return PARSED_NOT_OURS;
		frame->tcp = tcp;
		frame->ports = &tcp->source;
		packet->tcp_flags = tcp->flags;
		packet->tcp_header = tcp->doff * 4;
		packet->headers = header + tcp->doff * 4;
	} else if (protocol == IPPROTO_UDP) {
		struct udphdr *udp = take(cursor, struct udphdr);
		if (!udp || payload < sizeof(struct udphdr))
			return PARSED_NOT_OURS;
		frame->udp = udp;
		frame->ports = &udp->source;
		packet->headers = header + sizeof(struct udphdr);
	} else if (protocol == IPPROTO_SCTP && !plain) {
		struct sctphdr *sctp = take(cursor, struct sctphdr);
		if (!sctp || payload < sizeof(struct sctphdr))
			return PARSED_NOT_OURS;
		frame->ports = &sctp->source;
		packet->headers = header + sizeof(struct sctphdr);
	} else {
		return PARSED_NOT_OURS;
	}
	packet->tuple.ports = *(__u32 *)frame->ports;
	return PARSED_PORTS;
}

/* A packet without a tuple of its own. What is neither a fragment of a balanced protocol nor ICMP is not for us. */
static __always_inline enum parsed without_ports(struct packet *packet, __u8 protocol, __u32 header,
						 bool later_fragment)
{
	packet->tcp_flags = later_fragment ? NO_FLAGS : 0;
	packet->tcp_header = 0;
	packet->tuple.ports = 0;
	packet->tuple.protocol = protocol;
	packet->l4_offset = sizeof(struct ethhdr) + header;
	packet->headers = header;
	if (protocol == IPPROTO_TCP || protocol == IPPROTO_UDP || protocol == IPPROTO_SCTP)
		return later_fragment ? PARSED_LATER_FRAGMENT : PARSED_NOT_OURS;
	if (protocol == (packet->ipv4 ? IPPROTO_ICMP : IPPROTO_ICMPV6) && !packet->fragment)
		return PARSED_ICMP;
	return PARSED_NOT_OURS;
}

/* `plain`: only what needs no second look, the fast path's packets. It is a constant where this is called. */
static __always_inline enum parsed parse_ipv4(struct cursor *cursor, __u32 size, struct packet *packet,
					      struct frame *frame, bool plain)
{
	struct iphdr *ip = frame->ip = take(cursor, struct iphdr);
	frame->ip6 = NULL;
	if (!ip || ip->version != 4 || ip->ihl < 5 || (plain && ip->ihl != 5))
		return PARSED_NOT_OURS;
	__u32 header = plain ? sizeof(struct iphdr) : ip->ihl * 4;
	if (!plain) {
		cursor->position = ip;
		if (!take_bytes(cursor, header))
			return PARSED_NOT_OURS;
	}
	packet->length = bpf_ntohs(ip->tot_len);
	packet->options = header - sizeof(struct iphdr);
	packet->fragment = ip->frag_off & bpf_htons(FRAGMENT_OFFSET_OR_MORE);
	packet->fragment_id = ip->id;
	packet->ttl = ip->ttl;
	packet->ipv4 = true;
	if (packet->length < header || packet->length + sizeof(struct ethhdr) > size || (plain && packet->fragment))
		return PARSED_NOT_OURS;
	packet->tuple.source = ipv4_address(ip->saddr);
	packet->tuple.destination = ipv4_address(ip->daddr);
	bool later = ip->frag_off & bpf_htons(FRAGMENT_OFFSET);
	if (!plain && (later || ip->protocol == IPPROTO_ICMP))
		return without_ports(packet, ip->protocol, header, later);
	return parse_transport(cursor, ip->protocol, header, packet->length - header, packet, frame, plain);
}

/*
 * Step over the extension headers that say nothing about where a packet goes. What has a routing header, more headers or longer
 * ones, or hop-by-hop options that aren't the first, is the host's own business. Gives the protocol behind them, and whether this is a
 * later fragment.
 */
static __always_inline bool skip_extensions(struct cursor *cursor, struct packet *packet, __u8 *protocol, bool *later)
{
	__u32 bytes = 0;
	bool met_fragment = false;
#pragma unroll
	for (int i = 0; i < EXTENSIONS; i++) {
		if (*protocol == IPPROTO_FRAGMENT && !met_fragment) {
			met_fragment = true;
			struct frag_hdr *fragment = take(cursor, struct frag_hdr);
			if (!fragment)
				return false;
			*protocol = fragment->nexthdr;
			*later = fragment->frag_off & bpf_htons(FRAGMENT_OFFSET6);
			/* without any of these bits it is a whole packet */
			packet->fragment = fragment->frag_off & bpf_htons(FRAGMENT_OFFSET_OR_MORE6);
			packet->fragment_id = fragment->identification;
			bytes += sizeof(struct frag_hdr);
			if (*later)
				break;
		} else if ((*protocol == IPPROTO_HOPOPTS && !i) || *protocol == IPPROTO_DSTOPTS) {
			struct ipv6_opt_hdr *option = take(cursor, struct ipv6_opt_hdr);
			if (!option || option->hdrlen > EXTENSION_BYTES / 8 - 1)
				return false;
			__u32 rest = option->hdrlen * 8 + 6;
			*protocol = option->nexthdr;
			if (!take_bytes(cursor, rest))
				return false;
			bytes += rest + sizeof(struct ipv6_opt_hdr);
		}
	}
	packet->options = bytes;
	return bytes <= EXTENSION_BYTES;
}

static __always_inline enum parsed parse_ipv6(struct cursor *cursor, __u32 size, struct packet *packet,
					      struct frame *frame, bool plain)
{
	struct ipv6hdr *ip6 = frame->ip6 = take(cursor, struct ipv6hdr);
	frame->ip = NULL;
	if (!ip6 || (ip6->flow & bpf_htonl(0xf0000000)) != bpf_htonl(0x60000000))
		return PARSED_NOT_OURS;
	__u8 protocol = ip6->nexthdr;
	bool later = false;
	packet->length = sizeof(struct ipv6hdr) + bpf_ntohs(ip6->payload_len);
	packet->options = 0;
	packet->fragment = false;
	packet->fragment_id = 0;
	packet->ttl = ip6->hop_limit;
	packet->ipv4 = false;
	packet->tuple.source = ipv6_address(ip6->saddr);
	packet->tuple.destination = ipv6_address(ip6->daddr);
	/* to us such addresses are IPv4's, and no honest packet has them */
	if (is_ipv4(&packet->tuple.source) || is_ipv4(&packet->tuple.destination))
		return PARSED_NOT_OURS;
	if (!plain && !skip_extensions(cursor, packet, &protocol, &later))
		return PARSED_NOT_OURS;
	__u32 header = sizeof(struct ipv6hdr) + packet->options;
	if (packet->length < header || packet->length + sizeof(struct ethhdr) > size)
		return PARSED_NOT_OURS;
	if (!plain && (later || protocol == IPPROTO_ICMPV6))
		return without_ports(packet, protocol, header, later);
	return parse_transport(cursor, protocol, header, packet->length - header, packet, frame, plain);
}

/* `size` is the whole frame's, of which not all need lie before data_end. */
static __always_inline enum parsed parse(void *data, void *data_end, __u32 size, struct packet *packet,
					 struct frame *frame, bool plain)
{
	struct cursor cursor = {data, data_end};
	frame->eth = take(&cursor, struct ethhdr);
	if (!frame->eth)
		return PARSED_NOT_OURS;
	__be16 kind = *(__be16 *)&frame->eth->h_proto;
	if (likely(kind == bpf_htons(ETH_P_IP)))
		return parse_ipv4(&cursor, size, packet, frame, plain);
	if (kind == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(&cursor, size, packet, frame, plain);
	return PARSED_NOT_OURS;
}

static __always_inline __u8 ttl_of(const struct frame *frame)
{
	return frame->ip ? frame->ip->ttl : frame->ip6 ? frame->ip6->hop_limit : 0;
}

/* What a tunnel takes over into its outer header: XDP's stack has no room to keep that for all packets. */
static __always_inline void read_for_outer(const struct frame *frame, struct packet *packet)
{
	packet->ttl = ttl_of(frame);
	packet->tos = 0;
	packet->dont_fragment = false;
	if (frame->ip) {
		packet->tos = frame->ip->tos;
		packet->dont_fragment = frame->ip->frag_off & bpf_htons(DONT_FRAGMENT);
	} else if (frame->ip6) {
		packet->tos = bpf_ntohl(frame->ip6->flow) >> 20;
	}
}
