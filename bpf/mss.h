/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Finding the MSS in a SYN, and changing it. */
#pragma once

#include "kernel.h"

enum { TCP_OPTIONS = 40, TCP_OPTION_END = 0, TCP_OPTION_NOTHING = 1, TCP_OPTION_MSS = 2, TCP_OPTION_MSS_BYTES = 4 };

/* Where the MSS stands among `length` bytes of options that begin at `from`; 0 where it doesn't. */
__noinline int find_mss(struct __sk_buff *skb, __u32 from, __u32 length)
{
	for (__u32 i = 0, next = 0; i < TCP_OPTIONS && i + TCP_OPTION_MSS_BYTES <= length; i++) {
		struct {
			__u8 kind;
			__u8 length;
		} option;
		if (i < next)
			continue;
		if (bpf_skb_load_bytes(skb, from + i, &option, sizeof(option)) || option.kind == TCP_OPTION_END)
			return 0;
		if (option.kind == TCP_OPTION_MSS)
			return option.length == TCP_OPTION_MSS_BYTES ? from + i + 2 : 0;
		if (option.kind != TCP_OPTION_NOTHING && option.length < 2)
			return 0;
		next = option.kind == TCP_OPTION_NOTHING ? i + 1 : i + option.length;
	}
	return 0;
}

static __always_inline bool write_mss(struct __sk_buff *skb, __u32 tcp_at, __u32 mss_at, __be16 from, __be16 to)
{
	/* at an odd place its two bytes belong to two words of the sum, each on the other side */
	bool odd = (mss_at - tcp_at) & 1;
	__u64 was = odd ? bpf_htons(from) : from, is = odd ? bpf_htons(to) : to;
	return !bpf_l4_csum_replace(skb, tcp_at + offsetof(struct tcphdr, check), was, is, sizeof(to)) &&
	       !bpf_skb_store_bytes(skb, mss_at, &to, sizeof(to), 0);
}
