/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A frame becomes another one, of another length and family, of which the bytes are written anew. */
#pragma once

#include "kernel.h"

enum { LONGEST_HEADERS = 128 }; /* more than there is before any layer 4 that parse() accepts */

/* What takes part in every checksum is told to the kernel when it changes. */
static __always_inline bool put(struct __sk_buff *skb, __u32 at, const void *bytes, __u64 size)
{
	return !bpf_skb_store_bytes(skb, at, bytes, size, BPF_F_RECOMPUTE_CSUM);
}

/*
 * The frame becomes as long as it has to be, of the right family, and nothing of what it was remains. What is cut off at its front
 * takes the place with it where the sender left a checksum to be filled in: the kernel then forgets about that.
 */
static __always_inline bool reshape(struct __sk_buff *skb, __be16 protocol, __u32 size)
{
	if (skb->protocol != protocol && bpf_skb_change_proto(skb, protocol, 0))
		return false;
	return !bpf_skb_change_tail(skb, size + LONGEST_HEADERS, 0) &&
	       !bpf_skb_adjust_room(skb, -LONGEST_HEADERS, BPF_ADJ_ROOM_MAC, 0) &&
	       put(skb, offsetof(struct ethhdr, h_proto), &protocol, sizeof(protocol));
}
