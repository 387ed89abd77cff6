/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * GUE's remote checksum offload: the sender left the inner transport checksum undone and protects the whole by the outer UDP
 * checksum. So that one is checked, and the inner one is computed. All sums are ones' complement, as they lie in memory.
 */
#pragma once

#include "realserver_maps.h"
#include "tunnel.h"

enum { CHUNKS = 65536 / CHUNK + 1 };

struct summing {
	struct __sk_buff *skb;
	__u32 from;
	__u32 to;
	__u32 sum;
	bool failed;
};

static long add_chunk(__u32 number __unused, struct summing *summing)
{
	__u32 zero = 0;
	struct chunk *chunk = bpf_map_lookup_elem(&rs_chunk, &zero);
	__u32 left = summing->to - summing->from;
	if (summing->from >= summing->to)
		return 1;
	if (!chunk) {
		summing->failed = true;
		return 1;
	}
	if (left >= CHUNK) {
		left = CHUNK;
	} else { /* what is summed is a multiple of four bytes, of which the last are nought */
		__builtin_memset(chunk, 0, sizeof(*chunk));
		only_from_here_on(left);
	}
	left = bounded(left, CHUNK);
	if (bpf_skb_load_bytes(summing->skb, summing->from, chunk, left)) {
		summing->failed = true;
		return 1;
	}
	summing->sum = bpf_csum_diff(NULL, 0, chunk, (left + 3) & ~3U, summing->sum);
	summing->from += left;
	return 0;
}

/* Adds the bytes [from, to) of a frame to a sum; `from` and all that was added before is a multiple of two bytes. */
static __noinline int add_bytes(struct __sk_buff *skb, __u32 from, __u32 to, __u32 *sum)
{
	if (!sum)
		return -1;
	struct summing summing = {.skb = skb, .from = from, .to = to, .sum = *sum};
	bpf_loop(CHUNKS, add_chunk, &summing, 0);
	*sum = summing.sum;
	return summing.failed || summing.from != to ? -1 : 0;
}

static __always_inline __u32 pseudo_header(const struct tunnelled *tunnelled, __u32 length)
{
	__u64 sum = bpf_htons(length) + bpf_htons(IPPROTO_UDP);
	if (tunnelled->ipv6) {
		for (int i = 0; i < 4; i++)
			sum += (__u64)tunnelled->source.word[i] + tunnelled->destination.word[i];
	} else {
		sum += (__u64)tunnelled->source.word[3] + tunnelled->destination.word[3];
	}
	return fold(sum);
}

static __always_inline bool places_are_right(const struct tunnelled *tunnelled)
{
	__u32 where =
		tunnelled->protocol == IPPROTO_TCP ? offsetof(struct tcphdr, check) : offsetof(struct udphdr, check);
	bool known = tunnelled->protocol == IPPROTO_TCP || tunnelled->protocol == IPPROTO_UDP;
	return known && tunnelled->checksummed && tunnelled->remcsum_start == tunnelled->header &&
	       tunnelled->remcsum_offset == tunnelled->header + where &&
	       tunnelled->remcsum_offset + sizeof(__u16) <= tunnelled->length &&
	       tunnelled->offset + tunnelled->length == tunnelled->end;
}

/*
 * What is still to be segmented has checksums that are still to be computed, by whoever segments it. And a sender on this
 * machine may have left the outer checksum to a device: then there is the sum of the pseudo header only.
 */
static __noinline int settle_checksum(struct __sk_buff *skb, const struct tunnelled *tunnelled)
{
	if (!tunnelled || !places_are_right(tunnelled))
		return COUNT_DROP_CHECKSUM;
	if (skb->gso_size)
		return REALSERVER_COUNTERS;
	__u32 inner = tunnelled->offset + tunnelled->remcsum_start;
	__u32 pseudo = pseudo_header(tunnelled, tunnelled->end - tunnelled->transport);
	__u32 outer_sum = pseudo, sum = 0;
	__u16 outer;
	if (bpf_skb_load_bytes(skb, tunnelled->transport + offsetof(struct udphdr, check), &outer, sizeof(outer)) ||
	    add_bytes(skb, tunnelled->transport, inner, &outer_sum) || add_bytes(skb, inner, tunnelled->end, &sum))
		return COUNT_DROP_CHECKSUM;
	if (outer != (__u16)pseudo && fold((__u64)outer_sum + sum) != 0xffff)
		return COUNT_DROP_CHECKSUM;
	__u16 check = ~fold(sum);
	if (!check && tunnelled->protocol == IPPROTO_UDP)
		check = 0xffff;
	return bpf_skb_store_bytes(skb, tunnelled->offset + tunnelled->remcsum_offset, &check, sizeof(check),
				   BPF_F_RECOMPUTE_CSUM)
		       ? COUNT_DROP_REWRITE
		       : REALSERVER_COUNTERS;
}
