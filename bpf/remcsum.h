/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * GUE's remote checksum offload: the sender left the inner transport checksum undone and protects the whole by the outer UDP
 * checksum. So that one is checked, and the inner one is computed. All sums are ones' complement, as they lie in memory.
 */
#pragma once

#include "realserver_maps.h"
#include "sum.h"
#include "tunnel.h"

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
