/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * FULLNAT tells the real server who the client is: in a TCP option of kind 254 (TOA, in the layout of Alibaba's LVS and DPVS:
 * kind, length, the client's port, its address), in every segment of the client until the server has answered with one that is no
 * SYN. By then it has taken the connection, and with it the option, however often the network lost it. The MSS that the server
 * offers is lowered by the option's length, so that there is always room for it.
 *
 * The complete path alone does this. What is still to be segmented goes without: before that came an acknowledgement that had it.
 */
#pragma once

#include "forward.h"
#include "mss.h"
#include "sum.h"

enum { TOA_KIND = 254, MOST_TCP_HEADER = 60, MOST_MOVED = 4 };

struct toa {
	__u8 kind;
	__u8 length;
	__be16 port;
	union {
		__be32 ipv4;
		__be32 ipv6[4];
	};
};
_Static_assert(sizeof(struct toa) == 20, "the option as it is on the wire");

static __always_inline __u32 toa_length(const struct address *client)
{
	return is_ipv4(client) ? 8 : sizeof(struct toa);
}

/* Move the payload towards the end, its last part first. */
static __always_inline bool make_room_for(struct __sk_buff *skb, __u32 from, __u32 end, __u32 distance)
{
	__u32 zero = 0;
	struct chunk *chunk = bpf_map_lookup_elem(&chunks, &zero);
	if (!chunk || end - from > MOST_MOVED * CHUNK)
		return false;
#pragma unroll
	for (int i = 0; i < MOST_MOVED; i++) {
		if (end <= from)
			break;
		__u32 size = end - from < CHUNK ? end - from : CHUNK;
		size = bounded(size, CHUNK);
		end -= size;
		if (bpf_skb_load_bytes(skb, end, chunk, size) ||
		    bpf_skb_store_bytes(skb, end + distance, chunk, size, 0))
			return false;
	}
	return true;
}

/* The packet is longer, and so is its TCP header: what says so, and the checksums over it. */
static __always_inline bool lengthen(struct __sk_buff *skb, const struct tuple *tuple, __u32 l4, __u32 length,
				     __u32 added)
{
	__be16 old_ip, new_ip, old_l4 = bpf_htons(length + sizeof(struct ethhdr) - l4);
	__be16 new_l4 = bpf_htons(length + added + sizeof(struct ethhdr) - l4);
	__be16 word, before;
	bool ipv4 = is_ipv4(&tuple->source);
	__u32 at = sizeof(struct ethhdr) +
		   (ipv4 ? offsetof(struct iphdr, tot_len) : offsetof(struct ipv6hdr, payload_len));
	__u32 check_at = l4 + offsetof(struct tcphdr, check), doff_at = l4 + 12;
	if (bpf_skb_load_bytes(skb, at, &old_ip, sizeof(old_ip)) ||
	    bpf_skb_load_bytes(skb, doff_at, &before, sizeof(before)))
		return false;
	new_ip = bpf_htons(bpf_ntohs(old_ip) + added);
	word = before + (added / 4 << 4); /* the header's length is the high half of the first byte */
	if (ipv4 && bpf_l3_csum_replace(skb, sizeof(struct ethhdr) + offsetof(struct iphdr, check), old_ip, new_ip, 2))
		return false;
	return !bpf_skb_store_bytes(skb, at, &new_ip, sizeof(new_ip), 0) &&
	       !bpf_l4_csum_replace(skb, check_at, old_l4, new_l4, BPF_F_PSEUDO_HDR | 2) &&
	       !bpf_l4_csum_replace(skb, check_at, before, word, 2) &&
	       !bpf_skb_store_bytes(skb, doff_at, &word, sizeof(word), 0);
}

/*
 * Put the option behind those that are there. How much longer the packet is then: 0 where it has no room for it, and goes as it
 * is; negative when it can't be sent any more.
 */
__noinline int add_toa(struct __sk_buff *skb, const struct tuple *tuple, __u32 l4, __u32 length, __u32 header)
{
	if (!tuple)
		return -1;
	__u32 added = toa_length(&tuple->source), end = sizeof(struct ethhdr) + length, at = l4 + header;
	struct toa toa = {.kind = TOA_KIND, .length = added, .port = (__be16)tuple->ports};
	if (header + added > MOST_TCP_HEADER || end - at > MOST_MOVED * CHUNK)
		return 0;
	if (is_ipv4(&tuple->source))
		toa.ipv4 = tuple->source.word[3];
	else
		__builtin_memcpy(toa.ipv6, tuple->source.word, sizeof(toa.ipv6));
	if (bpf_skb_change_tail(skb, end + added, 0) || !make_room_for(skb, at, end, added))
		return -1;
	__s64 sum = is_ipv4(&tuple->source) ? bpf_csum_diff(NULL, 0, &toa, 8, 0)
					    : bpf_csum_diff(NULL, 0, &toa, sizeof(toa), 0);
	if (bpf_l4_csum_replace(skb, l4 + offsetof(struct tcphdr, check), 0, sum, 0) ||
	    bpf_skb_store_bytes(skb, at, &toa, is_ipv4(&tuple->source) ? 8 : sizeof(toa), 0))
		return -1;
	return lengthen(skb, tuple, l4, length, added) ? added : -1;
}

/* The server offers so much less. A SYN without an MSS means the least there is. */
__noinline int leave_room_for_toa(struct __sk_buff *skb, __u32 l4, __u32 header, __u32 less)
{
	__be16 mss;
	__u32 at = find_mss(skb, l4 + sizeof(struct tcphdr), header - sizeof(struct tcphdr));
	if (at && !bpf_skb_load_bytes(skb, at, &mss, sizeof(mss)) && bpf_ntohs(mss) > 2 * less)
		write_mss(skb, l4, at, mss, bpf_htons(bpf_ntohs(mss) - less));
	return 0;
}

/* The server has answered: it knows. */
static __always_inline void settle(struct connection *owner)
{
	for (int i = 0; i < 4; i++) {
		__u64 control = READ_ONCE(owner->control);
		if (control & SETTLED || phase_of(control) != PHASE_LIVE ||
		    swap_control(owner, control, control | SETTLED))
			return;
	}
}
