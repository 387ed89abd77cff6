/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What only the benchmark's programs need of the kernel's interface, and the one shape of all their packets. */
#pragma once

#include "kernel.h"

enum {
	BPF_MAP_TYPE_PROG_ARRAY = 3,
};

static long (*bpf_tail_call)(void *ctx, void *programs, __u32 index) __unused = (void *)12;

enum { NO_OPTIONS = 0x45 }; /* the first byte of an IPv4 header without options */

/* An Ethernet, an IPv4 and a TCP header, found by one comparison. The two of layer 3 and 4 are aligned to two bytes. */
struct headers {
	struct ethhdr *eth;
	struct iphdr *ip;
	struct tcphdr *tcp;
};

static __always_inline bool find_headers(void *data, void *data_end, struct headers *headers)
{
	headers->eth = data;
	headers->ip = data + sizeof(struct ethhdr);
	headers->tcp = data + sizeof(struct ethhdr) + sizeof(struct iphdr);
	return (void *)(headers->tcp + 1) <= data_end;
}

/* Both MACs in two stores. */
static __always_inline void write_macs(struct ethhdr *eth, __u64 first_eight, __u32 last_four)
{
	*(__u64 *)eth = first_eight;
	*(__u32 *)((void *)eth + 8) = last_four;
}
