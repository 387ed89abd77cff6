/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A hash of an address names a turn of the ring: sh, dh, mh. The hashes are the kernel's, so that the same client has the same
 * server there. Who is sent to a server that may not be chosen finds nobody, or is sent on and on from there.
 */
#pragma once

#include "ring.h"

enum { GOLDEN_RATIO = 0x61C88647 };

/* SipHash-1-3 of one word. (Aumasson and Bernstein, SipHash: a fast short-input PRF.) */
struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline __u64 rotated(__u64 word, int bits)
{
	return word << bits | word >> (64 - bits);
}

static __always_inline void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v1 = rotated(sip->v1, 13) ^ sip->v0;
	sip->v0 = rotated(sip->v0, 32);
	sip->v2 += sip->v3;
	sip->v3 = rotated(sip->v3, 16) ^ sip->v2;
	sip->v0 += sip->v3;
	sip->v3 = rotated(sip->v3, 21) ^ sip->v0;
	sip->v2 += sip->v1;
	sip->v1 = rotated(sip->v1, 17) ^ sip->v2;
	sip->v2 = rotated(sip->v2, 32);
}

static __always_inline __u32 siphash(__u32 word)
{
	const __u64 key = 2654435761, block = 4ULL << 56 | word;
	struct sip sip = {key ^ 0x736f6d6570736575ULL, key ^ 0x646f72616e646f6dULL, key ^ 0x6c7967656e657261ULL,
			  key ^ 0x7465646279746573ULL};
	sip.v3 ^= block;
	sip_round(&sip);
	sip.v0 ^= block;
	sip.v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&sip);
	return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

static __always_inline __u32 one_word(const struct address *address)
{
	const __be32 *word = address->word;
	return bpf_ntohl(is_ipv4(address) ? word[3] : word[0] ^ word[1] ^ word[2] ^ word[3]);
}

struct hashing {
	void *ring;
	__u32 turns;
	__u32 key;
	__u32 first;
	bool maglev;
	__u32 server; /* index + 1 */
};

static __always_inline bool try_turn(struct hashing *hashing, __u32 turn)
{
	__u32 index = server_of_turn(hashing->ring, turn);
	const struct server *server = server_at(index);
	if (server && READ_ONCE(server->weight) && may_be_chosen(server))
		hashing->server = index + 1;
	return hashing->server;
}

static long try_further(__u32 step, struct hashing *hashing)
{
	__u32 turns = hashing->turns;
	if (!turns)
		return 1;
	__u32 offset = ((__u64)step + hashing->first) % turns;
	__u64 again = hashing->maglev ? siphash(hashing->key + offset) : (__u64)hashing->first + offset;
	return try_turn(hashing, again % turns);
}

__noinline int select_hashed(const struct tuple *tuple, __u32 service_number)
{
	struct service *service = service_at(service_number);
	void *ring = ring_of(service_number);
	const struct ring_part *head = ring ? ring_part(ring, 0) : NULL;
	if (!tuple || !service || !head || !head->word[0])
		return 0;
	bool of_client = service->selection != SELECT_DESTINATION;
	struct hashing hashing = {
		.ring = ring,
		.turns = head->word[0],
		.key = one_word(of_client ? &tuple->source : &tuple->destination),
		.maglev = service->selection == SELECT_MAGLEV,
	};
	if (of_client && service->scheduler_flags & SCHEDULER_PORT)
		hashing.key += bpf_ntohs(tuple->ports);
	if (hashing.maglev)
		hashing.first = siphash(hashing.key) % hashing.turns;
	else
		hashing.first = (__u64)(hashing.key * (__u32)GOLDEN_RATIO) * hashing.turns >> 32;
	if (!try_turn(&hashing, hashing.first) && of_client && service->scheduler_flags & SCHEDULER_FALLBACK)
		bpf_loop(hashing.turns, try_further, &hashing, 0);
	return hashing.server;
}
