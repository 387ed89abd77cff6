/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame becomes a `struct packet`, once. Here, and only here, anything is compared with the frame's end. */
#pragma once

#include "director.h"

struct packet {
	struct tuple tuple;
	struct ethhdr *eth;
	struct iphdr *ip;
	struct tcphdr *tcp; /* this or the next, the other is null: so the verifier knows how much is there */
	struct udphdr *udp;
	__be16 *ports;
	__u32 length;	 /* of layer 3 */
	__u32 l4_offset; /* from the start of the frame */
	__u32 headers;	 /* bytes of layers 3 and 4 */
	__u32 mark;	 /* the firewall's, 0 for none */
	__u8 options;	 /* how many bytes of them the IP header has */
	__u8 tcp_flags;
	bool fragment;
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

enum { FRAGMENT_OFFSET_OR_MORE = 0x3fff, FRAGMENT_OFFSET = 0x1fff };
enum { IPV4_MAPPED = 0xffff0000 }; /* the word before the address, as memory has it */

static __always_inline struct address ipv4_address(__be32 address)
{
	return (struct address){.half = {0, (__u64)address << 32 | IPV4_MAPPED}};
}

static __always_inline bool ports_follow(const struct iphdr *ip)
{
	return !(ip->frag_off & bpf_htons(FRAGMENT_OFFSET)) &&
	       (ip->protocol == IPPROTO_TCP || ip->protocol == IPPROTO_UDP);
}

/*
 * True when the frame holds a whole IPv4 packet with a whole TCP or UDP header. Whatever else it may be is not for us.
 * `size` is the whole frame's, of which not all need lie before data_end.
 */
static __always_inline bool parse(void *data, void *data_end, __u32 size, struct packet *packet)
{
	struct cursor cursor = {data, data_end};
	packet->eth = take(&cursor, struct ethhdr);
	if (!packet->eth || *(__be16 *)&packet->eth->h_proto != bpf_htons(ETH_P_IP))
		return false;
	struct iphdr *ip = packet->ip = take(&cursor, struct iphdr);
	if (!ip || ip->version != 4 || ip->ihl < 5 || !ports_follow(ip))
		return false;
	__u32 header = ip->ihl * 4;
	cursor.position = ip;
	if (!take_bytes(&cursor, header))
		return false;
	packet->length = bpf_ntohs(ip->tot_len);
	packet->options = header - sizeof(struct iphdr);
	packet->l4_offset = sizeof(struct ethhdr) + header;
	packet->mark = 0;
	packet->fragment = ip->frag_off & bpf_htons(FRAGMENT_OFFSET_OR_MORE);
	if (packet->length < header || packet->length + sizeof(struct ethhdr) > size)
		return false;
	__u32 payload = packet->length - header;

	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = take(&cursor, struct tcphdr);
		if (!tcp || tcp->doff < 5 || payload < tcp->doff * 4U)
			return false;
		packet->tcp = tcp;
		packet->udp = NULL;
		packet->ports = &tcp->source;
		packet->tcp_flags = tcp->flags;
		packet->headers = header + tcp->doff * 4;
	} else {
		struct udphdr *udp = take(&cursor, struct udphdr);
		if (!udp || payload < sizeof(struct udphdr))
			return false;
		packet->tcp = NULL;
		packet->udp = udp;
		packet->ports = &udp->source;
		packet->tcp_flags = 0;
		packet->headers = header + sizeof(struct udphdr);
	}
	packet->tuple.source = ipv4_address(ip->saddr);
	packet->tuple.destination = ipv4_address(ip->daddr);
	packet->tuple.ports = *(__u32 *)packet->ports;
	packet->tuple.protocol = ip->protocol;
	return true;
}
