/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet that is too big for its way out leaves in IP fragments. It is changed as any other, then put aside; the frame takes the
 * shape of one fragment after the other, of which each but the last leaves as a clone. IPv4 only comes here, but it may be an outer
 * IPv6 packet, or have become one of IPv6, that is cut.
 */
#pragma once

#include "encapsulate.h"
#include "reshape.h"

enum {
	MOST_CUT = 65536,
	MOST_PART = 16384,
	FRAGMENT_UNIT = 8,
	LARGEST_FRAGMENT = 15 * 1024, /* the kernel makes frames no larger than 16 KiB for BPF */
	MOST_PARTS = 8192,
	MOST_IP_HEADER = 64,
	SHRINK_AT_ONCE = 4088, /* the most that bpf_skb_adjust_room takes, in units of 8 */
	SHRINKS = 4,
	OPTION_COPIED = 0x80,
};

/* What one CPU cuts. */
struct cutting {
	union {
		struct iphdr ip;
		struct {
			struct ipv6hdr ip6;
			struct frag_hdr fragment;
		};
		__u8 bytes[MOST_IP_HEADER];
	} header;     /* of each fragment */
	__u32 size;   /* of the header */
	__u32 length; /* of what is behind it, which is cut */
	__u32 step;   /* so much of it is in each fragment but the last */
	__u32 most;   /* can be in the last */
	__u32 at;     /* so much of it has left */
	__u32 base;   /* where in its datagram it begins, if it is a fragment itself */
	bool more;    /* it is a fragment, and not its datagram's last */
	bool failed;
	__u32 next_id;			 /* for all CPUs, in the first one's room */
	__u8 body[MOST_CUT + MOST_PART]; /* the verifier doesn't know that no fragment is longer than what is left */
};

/* One for each CPU (Python sees to that): an element of a per-CPU map would have to be smaller. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cutting);
} cuttings SEC(".maps");

static __always_inline struct cutting *own_cutting(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&cuttings, &cpu);
}

/* Outer packets that are cut are numbered, so that 65,536 in a row are surely told apart where they are put together. */
static __always_inline __be16 next_id(void)
{
	__u32 zero = 0;
	struct cutting *first = bpf_map_lookup_elem(&cuttings, &zero);
	return first ? bpf_htons(__sync_fetch_and_add(&first->next_id, 1)) : 0;
}

static __always_inline void read_ipv4(struct cutting *cutting, bool outer)
{
	struct iphdr *ip = &cutting->header.ip;
	cutting->size = ip->ihl * 4;
	cutting->length = bpf_ntohs(ip->tot_len) - cutting->size;
	cutting->base = (bpf_ntohs(ip->frag_off) & FRAGMENT_OFFSET) * 8;
	cutting->more = ip->frag_off & bpf_htons(MORE_FRAGMENTS);
	if (outer)
		ip->id = next_id();
}

static __always_inline void read_ipv6(struct cutting *cutting)
{
	struct ipv6hdr *ip6 = &cutting->header.ip6;
	struct frag_hdr *fragment = &cutting->header.fragment;
	cutting->size = sizeof(*ip6) + sizeof(*fragment);
	cutting->length = bpf_ntohs(ip6->payload_len);
	cutting->base = 0;
	cutting->more = false;
	fragment->nexthdr = ip6->nexthdr;
	fragment->reserved = 0;
	fragment->identification = bpf_get_prandom_u32();
	ip6->nexthdr = IPPROTO_FRAGMENT;
}

/* Put the packet aside: a header for all fragments, and what is behind it. */
static __noinline int take_apart(struct __sk_buff *skb, struct cutting *cutting, bool outer, __u32 mtu)
{
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &cutting->header, sizeof(cutting->header)))
		return false;
	bool ipv4 = cutting->header.ip.version == 4;
	__u32 from = sizeof(struct ethhdr) + sizeof(struct ipv6hdr);
	if (ipv4) {
		read_ipv4(cutting, outer);
		from = sizeof(struct ethhdr) + cutting->size;
	} else {
		read_ipv6(cutting);
	}
	mtu = mtu < LARGEST_FRAGMENT ? mtu : LARGEST_FRAGMENT;
	if (mtu < cutting->size + FRAGMENT_UNIT)
		return false;
	cutting->at = 0;
	cutting->failed = false;
	cutting->most = mtu - cutting->size;
	cutting->step = cutting->most & ~(FRAGMENT_UNIT - 1U);
	return cutting->length > cutting->most &&
	       !bpf_skb_load_bytes(skb, from, cutting->body, bounded(cutting->length, MOST_CUT));
}

/* The next fragment takes the frame's place, whose length is right already. */
static __noinline int write_fragment(struct __sk_buff *skb, struct cutting *cutting, __u32 size, bool last)
{
	__u32 at = cutting->at & (MOST_CUT - 1), header = bounded(cutting->size, MOST_IP_HEADER);
	struct iphdr *ip = &cutting->header.ip;
	if (ip->version == 4) {
		__u16 more = last && !cutting->more ? 0 : MORE_FRAGMENTS;
		ip->tot_len = bpf_htons(header + size);
		ip->frag_off = bpf_htons((cutting->base + at) / FRAGMENT_UNIT | more);
		ip->check = 0;
		ip->check = ~folded(bpf_csum_diff(NULL, 0, &cutting->header, header, 0));
	} else {
		cutting->header.ip6.payload_len = bpf_htons(sizeof(struct frag_hdr) + size);
		cutting->header.fragment.frag_off = bpf_htons(at | (last ? 0 : MORE_FRAGMENTS6));
	}
	cutting->at += size;
	only_from_here_on(at);
	return put(skb, sizeof(struct ethhdr), &cutting->header, header) &&
	       put(skb, sizeof(struct ethhdr) + header, cutting->body + at, bounded(size, MOST_PART));
}

/* Only the first fragment has the options that are not marked to be in each; the others have padding in their place. */
__noinline int blank_options(void)
{
	struct cutting *cutting = own_cutting();
	__u32 next = sizeof(struct iphdr);
	bool blank = false;
	if (!cutting)
		return 0;
	for (__u32 i = next; i < MOST_IP_HEADER - 1 && i < cutting->size; i++) {
		__u8 *option = cutting->header.bytes + i;
		if (i == next) {
			__u32 length = option[0] == OPTION_NOTHING ? 1 : option[1];
			if (option[0] == OPTION_END || !length || i + length > cutting->size)
				break;
			next = i + length;
			blank = !(option[0] & OPTION_COPIED);
		}
		if (blank)
			option[0] = OPTION_NOTHING;
	}
	return 0;
}

struct parting {
	struct __sk_buff *skb;
	__u32 interface;
};

/* A fragment that others follow. */
static long send_part(__u32 number, struct parting *parting)
{
	struct cutting *cutting = own_cutting();
	if (!cutting || cutting->length - cutting->at <= cutting->most)
		return 1;
	cutting->failed = !write_fragment(parting->skb, cutting, cutting->step, false) ||
			  bpf_clone_redirect(parting->skb, parting->interface, 0) < 0;
	if (cutting->failed)
		return 1;
	if (!number && cutting->header.ip.version == 4)
		blank_options();
	return 0;
}

/* The frame gets as much longer or shorter, at its front; behind that nothing depends on what the kernel takes for headers. */
static __always_inline bool resize(struct __sk_buff *skb, __s32 by)
{
	for (int i = 0; i < SHRINKS && by; i++) {
		__s32 part = by > -SHRINK_AT_ONCE ? by : -SHRINK_AT_ONCE;
		if (bpf_skb_adjust_room(skb, part, BPF_ADJ_ROOM_MAC, 0))
			return false;
		by -= part;
	}
	return !by;
}

/*
 * The frame is what is to be cut, and becomes its last fragment, when all others have left. If the neighbour isn't known yet they
 * can't leave: it becomes the first one then, which makes the kernel look for the neighbour, and the packet is lost.
 */
__noinline int send_all_but_the_last(struct __sk_buff *skb, struct sending *sending)
{
	struct cutting *cutting = own_cutting();
	struct server *server = sending ? server_at(sending->server) : NULL;
	bool tunnel = sending && sending->method == METHOD_TUN;
	if (!cutting || !server || (!tunnel && !finish_checksum(skb, sending)) ||
	    !take_apart(skb, cutting, tunnel, sending->mtu + grows_by(sending, server)))
		return false;
	__be16 protocol = cutting->header.ip.version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	if (!reshape(skb, protocol, sizeof(struct ethhdr) + cutting->size + cutting->step))
		return false;
	if (sending->unresolved) {
		count(DROP_FRAGMENT);
		return write_fragment(skb, cutting, cutting->step, false);
	}
	struct parting parting = {.skb = skb, .interface = sending->interface};
	if (!put(skb, 0, sending->macs, sizeof(sending->macs)))
		return false;
	bpf_loop(MOST_PARTS, send_part, &parting, 0);
	__u32 rest = cutting->length - cutting->at;
	return !cutting->failed && resize(skb, (__s32)(rest - cutting->step)) &&
	       write_fragment(skb, cutting, rest, true);
}
