/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which service a packet is for, and which real server gets a new connection. */
#pragma once

#include "hashed.h"
#include "locality.h"
#include "turn.h"

enum { PORT_FTP_DATA = 20, PORT_FTP = 21, PORT_UNPRIVILEGED = 1024 };

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

/* The index + 1 of the server that gets a service's next connection, 0 when none may have it. */
__noinline int schedule(const struct tuple *tuple, __u32 service_number)
{
	struct service *service = service_at(service_number);
	if (!tuple || !service)
		return 0;
	int chosen = 0;
	switch (service->selection) {
	case SELECT_TURN:
		chosen = select_turn(service_number);
		break;
	case SELECT_SOURCE:
	case SELECT_DESTINATION:
	case SELECT_MAGLEV:
		chosen = select_hashed(tuple, service_number);
		break;
	case SELECT_LOCALITY:
	case SELECT_LOCALITY_SET:
		chosen = select_locality(tuple, service_number);
		break;
	case SELECT_LESS_OF_TWO:
		chosen = select_less_of_two(service_number);
		break;
	default:
		chosen = select_least(service_number, service->selection);
	}
	return chosen && is_one_of(chosen - 1, service_number) ? chosen : 0;
}
