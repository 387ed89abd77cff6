/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A service's real servers in the order in which its scheduler looks at them. Python made the ring; here it is only read. */
#pragma once

#include "connection.h"

static __always_inline struct server *server_at(__u32 index)
{
	return bpf_map_lookup_elem(&servers, &index);
}

static __always_inline struct service *service_at(__u32 index)
{
	return bpf_map_lookup_elem(&services, &index);
}

static __always_inline void *ring_of(__u32 service_number)
{
	return bpf_map_lookup_elem(&rings, &service_number);
}

static __always_inline const struct ring_part *ring_part(void *ring, __u32 number)
{
	return bpf_map_lookup_elem(ring, &number);
}

/* The server of a turn, which is less than there are. */
static __always_inline __u32 server_of_turn(void *ring, __u32 turn)
{
	__u32 word = RING_HEADER + turn;
	const struct ring_part *part = ring_part(ring, word / RING_WORDS);
	return part ? part->word[word % RING_WORDS] : 0;
}

/* A ring may be older than a change of what it names. */
static __always_inline bool is_one_of(__u32 server_index, __u32 service_number)
{
	const struct server *server = server_at(server_index);
	return server && READ_ONCE(server->phase) == SERVER_AVAILABLE && server->service == service_number;
}

static __always_inline bool may_be_chosen(const struct server *server)
{
	return READ_ONCE(server->phase) == SERVER_AVAILABLE && !READ_ONCE(server->overloaded);
}
