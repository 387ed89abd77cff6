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
	__u32 *role = bpf_map_lookup_elem(&addresses, &destination);
	if (!role || !(*role & ADDRESS_VIP)) /* so what is none of our business costs two look-ups */
		return 0;
	found = ftp_service_of(tuple);
	return found ? found : service_known_as(&destination, 0, tuple->protocol);
}

static __always_inline __u32 *ring_word(void *ring, __u32 index)
{
	return bpf_map_lookup_elem(ring, &index);
}

/* A ring may be older than a change of what it names; those with weight 0 are not in it. */
static __always_inline bool may_be_chosen(const struct server *server)
{
	return READ_ONCE(server->phase) == SERVER_AVAILABLE && !READ_ONCE(server->overloaded);
}

struct least {
	void *ring;
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

static long compare_load(__u32 turn, struct least *least)
{
	__u32 *index = ring_word(least->ring, RING_HEADER + turn);
	struct server *server = index ? server_at(*index) : NULL;
	if (!server)
		return 1;
	__u64 load = load_measure(READ_ONCE(server->load));
	__u64 weight = least->weighted ? server->weight : 1;
	/* load / weight < least->load / least->weight: the first of equals stays */
	if (!may_be_chosen(server) || (least->server && load * least->weight >= least->load * weight))
		return 0;
	least->server = *index + 1;
	least->load = load;
	least->weight = weight;
	return 0;
}

static __always_inline int select_least(void *ring, __u32 turns, bool weighted)
{
	struct least least = {.ring = ring, .weighted = weighted};
	bpf_loop(turns, compare_load, &least, 0);
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
	__u32 *index = ring_word(turning->ring, RING_HEADER + turn % turning->turns);
	struct server *server = index ? server_at(*index) : NULL;
	if (server && may_be_chosen(server))
		turning->server = *index + 1;
	return turning->server != 0;
}

static long take_next_turn(__u32 turn __unused, struct turning *turning)
{
	return turning->turns ? take_turn(turning) : 1;
}

static __always_inline int select_turn(void *ring, __u32 turns, struct service *service)
{
	__u32 *start = ring_word(ring, 1);
	struct turning turning = {.ring = ring, .service = service, .turns = turns, .start = start ? *start : 0};
	/* once round at most, so that a search in vain ends where it began */
	if (!take_turn(&turning))
		bpf_loop(turns - 1, take_next_turn, &turning, 0);
	return turning.server;
}

/* The index + 1 of the server that gets a service's next connection, 0 when none may have it. */
__noinline int schedule(__u32 service_number)
{
	struct service *service = service_at(service_number);
	void *ring = bpf_map_lookup_elem(&rings, &service_number);
	__u32 *turns = ring ? ring_word(ring, 0) : NULL;
	if (!service || !turns || !*turns)
		return 0;
	int chosen = 0;
	switch (service->selection) {
	case SELECT_TURN:
		chosen = select_turn(ring, *turns, service);
		break;
	case SELECT_LEAST:
		chosen = select_least(ring, *turns, false);
		break;
	case SELECT_WEIGHTED_LEAST:
		chosen = select_least(ring, *turns, true);
		break;
	}
	struct server *server = chosen ? server_at(chosen - 1) : NULL;
	return server && may_be_chosen(server) && server->service == service_number ? chosen : 0;
}
