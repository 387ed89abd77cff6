/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What an SCTP packet says of its association, and its checksum (CRC32c over all of it but the addresses) when ports change. */
#pragma once

#include "state.h"

struct sctp_chunk {
	__u8 type;
	__u8 flags;
	__be16 length;
};

/* How many types of chunks the kernel knows, and the event of each. */
enum { CHUNK_TYPES = 16, TYPE_COOKIE_ECHO = 10, TYPE_COOKIE_ACK = 11, TYPE_ABORT = 6 };
static const __u8 event_of_type[CHUNK_TYPES] = {
	[1] = CHUNK_INIT,
	[2] = CHUNK_INIT_ACK,
	[TYPE_ABORT] = CHUNK_ABORT,
	[7] = CHUNK_SHUTDOWN,
	[8] = CHUNK_SHUTDOWN_ACK,
	[9] = CHUNK_ERROR,
	[TYPE_COOKIE_ECHO] = CHUNK_COOKIE_ECHO,
	[TYPE_COOKIE_ACK] = CHUNK_COOKIE_ACK,
	[14] = CHUNK_SHUTDOWN_COMPLETE,
};

static __always_inline bool load_chunk(struct __sk_buff *skb, __u32 at, __u32 end, struct sctp_chunk *chunk)
{
	return at + sizeof(*chunk) <= end && !bpf_skb_load_bytes(skb, at, chunk, sizeof(*chunk));
}

/* An ABORT behind a cookie counts as the packet's event; no other chunk but the first does. */
static __always_inline bool aborts_behind(struct __sk_buff *skb, __u32 at, __u32 end, const struct sctp_chunk *cookie)
{
	struct sctp_chunk next;
	__u32 length = bpf_ntohs(cookie->length);
	if (length < sizeof(*cookie) || !load_chunk(skb, at + (length + 3) / 4 * 4, end, &next))
		return false;
	return next.type == TYPE_ABORT;
}

/* The packet's event and whether it may open a connection, as `tcp_flags` have them. `end` is where the packet ends. */
__noinline int sctp_flags(struct __sk_buff *skb, __u32 l4_offset, __u32 end)
{
	struct sctp_chunk first;
	__u32 at = l4_offset + sizeof(struct sctphdr);
	if (!load_chunk(skb, at, end, &first))
		return NO_CHUNK;
	__u32 event = CHUNK_DATA, type = first.type;
	only_from_here_on(type);
	if (type < CHUNK_TYPES)
		event = event_of_type[type % CHUNK_TYPES];
	__u32 opening = event == CHUNK_INIT ? TCP_SYN : event == CHUNK_ABORT ? TCP_RST : 0;
	if ((type == TYPE_COOKIE_ECHO || type == TYPE_COOKIE_ACK) && aborts_behind(skb, at, end, &first))
		event = CHUNK_ABORT;
	return event << SCTP_EVENT_SHIFT | opening;
}

enum { CRC32C = 0x82f63b78, LENGTH_BITS = 16 };

/* x to the power of 8 * 2^i modulo CRC32c's polynomial, whose highest bit is the lowest here. */
static const __u32 byte_powers[LENGTH_BITS] = {
	0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a, 0xb82be955, 0xb8fdb1e7,
	0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a, 0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,
};

/* The product of two polynomials modulo CRC32c's. Verified once, and not for each bit of a length. */
__noinline __u32 times(__u32 a, __u32 b)
{
	__u32 product = 0;
#pragma clang loop unroll(disable)
	for (int i = 0; i < 32; i++) {
		product ^= b & -(a >> 31);
		a <<= 1;
		b = b >> 1 ^ (CRC32C & -(b & 1));
	}
	return product;
}

/* What a change of a message's first four bytes does to its CRC: it is a linear function, so the other bytes don't matter. */
__noinline int crc_change(__u32 difference, __u32 length)
{
#pragma clang loop unroll(disable)
	for (__u32 i = 0; i < LENGTH_BITS; i++)
		if (length >> i & 1)
			difference = times(difference, byte_powers[i]);
	return difference;
}
