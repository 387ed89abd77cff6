/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A tunnel's packet that was cut on its way is put together, because the kernel would do that only behind this hook. Fragments
 * leave a host and come in one after the other; so each must begin where what has come so far ends.
 */
#pragma once

#include "realserver_maps.h"
#include "reshape.h"
#include "tunnel.h"

enum {
	ASSEMBLIES = 64, /* at one time, by a hash of what names them */
	MOST_FRAGMENT = 16384,
	MOST_ASSEMBLED = 15 * 1024, /* the kernel makes frames no larger than 16 KiB for BPF */
};
#define ASSEMBLY_NS 2000000000ULL /* the next fragment of a packet comes within this time */

struct assembly {
	struct address source;
	struct address destination;
	__u64 good_until;
	__u32 id;
	__u32 busy;   /* another CPU is at it */
	__u32 length; /* of what has come, 0: nothing */
	__u8 protocol;
	__u8 ecn; /* of all */
	__u8 pad[2];
	__u8 bytes[2 * MOST_FRAGMENT]; /* the verifier doesn't know that the last one ends at MOST_ASSEMBLED */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, ASSEMBLIES);
	__type(key, __u32);
	__type(value, struct assembly);
} rs_assemblies SEC(".maps");

enum assembled {
	ASSEMBLED_NOT, /* it belongs to nothing that is here */
	ASSEMBLED_PART,
	ASSEMBLED_WHOLE, /* the frame is the whole packet */
};

static __always_inline struct assembly *assembly_of(const struct tunnelled *tunnelled)
{
	__u32 slot = (tunnelled->source.word[3] ^ tunnelled->fragment_id) * 0x9e3779b1 >> 26;
	return bpf_map_lookup_elem(&rs_assemblies, &slot);
}

static __always_inline bool is_next(const struct assembly *assembly, const struct tunnelled *tunnelled, __u64 now)
{
	return assembly->length == tunnelled->fragment_at && assembly->id == tunnelled->fragment_id &&
	       assembly->protocol == tunnelled->outer_protocol && same_address(&assembly->source, &tunnelled->source) &&
	       same_address(&assembly->destination, &tunnelled->destination) && now < assembly->good_until;
}

static __always_inline void begin(struct assembly *assembly, const struct tunnelled *tunnelled)
{
	assembly->source = tunnelled->source;
	assembly->destination = tunnelled->destination;
	assembly->id = tunnelled->fragment_id;
	assembly->protocol = tunnelled->outer_protocol;
	assembly->ecn = 0;
	assembly->length = 0;
}

/* The header of the last fragment becomes that of the whole. */
static __always_inline bool write_whole_header(struct __sk_buff *skb, const struct tunnelled *tunnelled, __u32 length,
					       __u8 ecn)
{
	union {
		struct iphdr ip;
		struct ipv6hdr ip6;
	} header;
	__u32 size = tunnelled->ipv6 ? sizeof(header.ip6) : sizeof(header.ip);
	if (bpf_skb_load_bytes(skb, sizeof(struct ethhdr), &header, sizeof(header)))
		return false;
	if (tunnelled->ipv6) {
		header.ip6.flow |= bpf_htonl((__u32)ecn << 20);
		header.ip6.payload_len = bpf_htons(length);
		header.ip6.nexthdr = tunnelled->outer_protocol;
	} else {
		header.ip.tos |= ecn;
		header.ip.tot_len = bpf_htons(size + length);
		header.ip.frag_off = 0;
		header.ip.check = 0;
		header.ip.check = ~fold(bpf_csum_diff(NULL, 0, &header, sizeof(header.ip), 0));
	}
	return put(skb, sizeof(struct ethhdr), &header, size);
}

/* The frame gets the whole packet's length and contents. */
static __noinline int write_whole(struct __sk_buff *skb, const struct tunnelled *tunnelled, struct assembly *assembly)
{
	__u32 length = assembly->length;
	return !bpf_skb_change_tail(skb, tunnelled->transport + length, 0) &&
	       write_whole_header(skb, tunnelled, length, assembly->ecn) &&
	       put(skb, tunnelled->transport, assembly->bytes, bounded(length, MOST_FRAGMENT));
}

/* Add a fragment to what has come of its packet. */
static __always_inline enum assembled add(struct __sk_buff *skb, const struct tunnelled *tunnelled,
					  struct assembly *assembly)
{
	__u32 from = tunnelled->transport + (tunnelled->ipv6 ? sizeof(struct frag_hdr) : 0);
	__u32 size = tunnelled->end - from, at = assembly->length;
	__u64 now = bpf_ktime_get_ns();
	if (!tunnelled->later)
		begin(assembly, tunnelled);
	else if (!is_next(assembly, tunnelled, now))
		return ASSEMBLED_NOT;
	at = assembly->length;
	assembly->length = 0;
	if (!size || size > MOST_ASSEMBLED - at || (tunnelled->fragment_more && size % 8))
		return ASSEMBLED_NOT;
	at &= MOST_FRAGMENT - 1;
	only_from_here_on(at);
	if (bpf_skb_load_bytes(skb, from, assembly->bytes + at, bounded(size, MOST_FRAGMENT)))
		return ASSEMBLED_NOT;
	assembly->length = at + size;
	assembly->ecn |= tunnelled->ecn;
	assembly->good_until = now + ASSEMBLY_NS;
	if (tunnelled->fragment_more)
		return ASSEMBLED_PART;
	bool written = write_whole(skb, tunnelled, assembly);
	assembly->length = 0;
	return written ? ASSEMBLED_WHOLE : ASSEMBLED_NOT;
}

static __noinline int assemble(struct __sk_buff *skb, const struct tunnelled *tunnelled)
{
	struct assembly *assembly = tunnelled ? assembly_of(tunnelled) : NULL;
	if (!assembly || __sync_lock_test_and_set(&assembly->busy, 1))
		return ASSEMBLED_NOT;
	enum assembled result = add(skb, tunnelled, assembly);
	(void)__sync_lock_test_and_set(&assembly->busy, 0);
	return result;
}
