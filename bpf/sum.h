/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The ones' complement sum of a part of a frame, however long: as it lies in memory, not complemented. */
#pragma once

#include "kernel.h"

enum { CHUNK = 512 }; /* the most that bpf_csum_diff takes at once */
enum { CHUNKS = 65536 / CHUNK + 1 };

struct chunk {
	__u64 word[CHUNK / sizeof(__u64) + 1]; /* the verifier does not see that rounding up stays within CHUNK */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct chunk);
} chunks SEC(".maps");

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
	struct chunk *chunk = bpf_map_lookup_elem(&chunks, &zero);
	__u32 left = summing->to - summing->from;
	if (summing->from >= summing->to)
		return 1;
	if (!chunk) {
		summing->failed = true;
		return 1;
	}
	if (left > CHUNK)
		left = CHUNK;
	if (left < CHUNK) /* what is summed is a multiple of four bytes, of which the last are nought */
		__builtin_memset(chunk, 0, sizeof(*chunk));
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
__noinline int add_bytes(struct __sk_buff *skb, __u32 from, __u32 to, __u32 *sum)
{
	if (!sum)
		return -1;
	struct summing summing = {.skb = skb, .from = from, .to = to, .sum = *sum};
	bpf_loop(CHUNKS, add_chunk, &summing, 0);
	*sum = summing.sum;
	return summing.failed || summing.from != to ? -1 : 0;
}
