/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Packets of the director's own programs: what they send to the director comes in by the loopback interface. */
#pragma once

#include "kernel.h"

enum { LOOPBACK = 1 }; /* its index, in every network namespace */

/* Where a packet ends that is for a program on the director itself. */
enum ending {
	ENDS_ELSEWHERE,
	ENDS_AS_IT_GOES, /* the kernel goes on with it as it does already */
	ENDS_HANDED_OVER,
};

static __always_inline bool is_here(const struct __sk_buff *skb)
{
	return skb->ifindex == LOOPBACK;
}

/* Such a frame is not to be balanced once more. */
static __always_inline bool was_handed_over(const struct ethhdr *eth)
{
	const __be16 *source = (const __be16 *)eth->h_source;
	return source[0] == bpf_htons(0x0270) && source[1] == bpf_htons(0x796c) && source[2] == bpf_htons(0x7673);
}

/* It comes in by the loopback interface, whose own address, the frame's destination, is 0. */
static __always_inline int hand_over(struct __sk_buff *skb)
{
	__be16 macs[ETH_ALEN] = {0, 0, 0, bpf_htons(0x0270), bpf_htons(0x796c), bpf_htons(0x7673)};
	if (bpf_skb_store_bytes(skb, 0, macs, sizeof(macs), 0))
		return TC_ACT_SHOT;
	return bpf_redirect(LOOPBACK, BPF_F_INGRESS);
}

static __always_inline enum ending ending_here(const struct __sk_buff *skb, bool request)
{
	return request || is_here(skb) ? ENDS_AS_IT_GOES : ENDS_HANDED_OVER;
}
