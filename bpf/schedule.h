/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which service a packet is for, and which real server gets a new connection. Python made the ring; here it is only read. */
#pragma once

#include "connection.h"

enum { PORT_FTP_DATA = 20, PORT_FTP = 21, PORT_UNPRIVILEGED = 1024 };

static __always_inline struct server *server_at(__u32 index)
{
	return bpf_map_lookup_elem(&servers, &index);
}

static __always_inline struct service *service_at(__u32 index)
{
	return bpf_map_lookup_elem(&services, &index);
}

static __always_inline bool has_role(const struct address *address, __u32 roles)
{
	__u32 *found = bpf_map_lookup_elem(&addresses, address);
	return found && *found & roles;
}

static __always_inline int service_known_as(const struct address *vip, __be16 port, __u8 protocol)
{
	struct service_key key = {.vip = *vip, .port = port, .protocol = protocol};
	__u32 *found = bpf_map_lookup_elem(&service_index, &key);
	return found ? *found + 1 : 0;
}

static __always_inline int service_of_mark(const struct address *destination, __u32 mark)
{
	struct address as_address = is_ipv4(destination) ? ipv4_address(bpf_htonl(mark)) : (struct address){};
	as_address.word[3] = bpf_htonl(mark);
	return service_known_as(&as_address, 0, 0);
}

/* A persistent FTP service takes the connections that its clients open for their data, too. */
static __always_inline int ftp_service_of(const struct tuple *tuple)
{
	__u16 port = bpf_ntohs(tuple->ports >> 16);
	if (tuple->protocol != IPPROTO_TCP || (port != PORT_FTP_DATA && port < PORT_UNPRIVILEGED))
		return 0;
	int found = service_known_as(&tuple->destination, bpf_htons(PORT_FTP), IPPROTO_TCP);
	struct service *service = found ? service_at(found - 1) : NULL;
	return service && service->persistence ? found : 0;
}

/* The index + 1 of a packet's service, 0 where it has none. The kernel's order: mark, address and port, FTP, every port. */
__noinline int find_service(const struct tuple *tuple, __u32 mark)
{
	if (!tuple)
		return 0;
	int found = mark ? service_of_mark(&tuple->destination, mark) : 0;
	if (found)
		return found;
	found = service_known_as(&tuple->destination, tuple->ports >> 16, tuple->protocol);
	if (found)
		return found;
	struct address destination = tuple->destination;
	if (!has_role(&destination, ADDRESS_VIP)) /* so what is none of our business costs two look-ups */
		return 0;
	found = ftp_service_of(tuple);
	return found ? found : service_known_as(&destination, 0, tuple->protocol);
}

static __always_inline const struct ring_part *ring_part(void *ring, __u32 number)
{
	return bpf_map_lookup_elem(ring, &number);
}

/* A ring may be older than a change of what it names; those with weight 0 are not in it. */
static __always_inline bool may_be_chosen(const struct server *server)
{
	return READ_ONCE(server->phase) == SERVER_AVAILABLE && !READ_ONCE(server->overloaded);
}

struct least {
	void *ring;
	__u32 turns;
	bool weighted;
	__u32 server; /* index + 1 */
	__u64 load;
	__u64 weight;
};

/* The kernel's measure: an active connection weighs as much as 256 inactive ones. */
static __always_inline __u64 load_measure(__u64 load)
{
	return (load >> 32) * 256 + (__u32)load;
}

static __always_inline void compare_load(__u32 index, struct least *least)
{
	struct server *server = server_at(index);
	if (!server || !may_be_chosen(server))
		return;
	__u64 load = load_measure(READ_ONCE(server->load));
	__u64 weight = least->weighted ? server->weight : 1;
	/* load / weight < least->load / least->weight: the first of equals stays */
	if (least->server && load * least->weight >= least->load * weight)
		return;
	least->server = index + 1;
	least->load = load;
	least->weight = weight;
}

static long compare_loads(__u32 number, struct least *least)
{
	const struct ring_part *part = ring_part(least->ring, number);
	if (!part)
		return 1;
	for (__u32 i = 0; i < RING_WORDS; i++) {
		__u32 turn = number * RING_WORDS + i - RING_HEADER; /* of the header's words: more than any */
		if (turn < least->turns)
			compare_load(part->word[i], least);
	}
	return 0;
}

static __always_inline int select_least(void *ring, __u32 turns, bool weighted)
{
	struct least least = {.ring = ring, .turns = turns, .weighted = weighted};
	bpf_loop((RING_HEADER + turns + RING_WORDS - 1) / RING_WORDS, compare_loads, &least, 0);
	return least.server;
}

struct turning {
	void *ring;
	struct service *service;
	__u32 turns;
	__u32 start;
	__u32 server; /* index + 1 */
};

static __always_inline long take_turn(struct turning *turning)
{
	__u64 turn = __sync_fetch_and_add(&turning->service->turns_taken, 1) + turning->start;
	__u32 word = RING_HEADER + turn % turning->turns;
	const struct ring_part *part = ring_part(turning->ring, word / RING_WORDS);
	if (!part)
		return 0;
	__u32 index = part->word[word % RING_WORDS];
	struct server *server = server_at(index);
	if (server && may_be_chosen(server))
		turning->server = index + 1;
	return turning->server != 0;
}

static long take_next_turn(__u32 turn __unused, struct turning *turning)
{
	return turning->turns ? take_turn(turning) : 1;
}

static __always_inline int select_turn(void *ring, const struct ring_part *first, struct service *service)
{
	struct turning turning = {.ring = ring, .service = service, .turns = first->word[0], .start = first->word[1]};
	/* once round at most, so that a search in vain ends where it began */
	if (turning.turns && !take_turn(&turning))
		bpf_loop(turning.turns - 1, take_next_turn, &turning, 0);
	return turning.server;
}

/* The index + 1 of the server that gets a service's next connection, 0 when none may have it. */
__noinline int schedule(__u32 service_number)
{
	struct service *service = service_at(service_number);
	void *ring = bpf_map_lookup_elem(&rings, &service_number);
	const struct ring_part *first = ring ? ring_part(ring, 0) : NULL;
	if (!service || !first)
		return 0;
	int chosen = 0;
	switch (service->selection) {
	case SELECT_TURN:
		chosen = select_turn(ring, first, service);
		break;
	case SELECT_LEAST:
		chosen = select_least(ring, first->word[0], false);
		break;
	case SELECT_WEIGHTED_LEAST:
		chosen = select_least(ring, first->word[0], true);
		break;
	}
	struct server *server = chosen ? server_at(chosen - 1) : NULL;
	return server && may_be_chosen(server) && server->service == service_number ? chosen : 0;
}
