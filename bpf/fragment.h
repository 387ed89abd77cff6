/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments. Only the first one of a datagram has ports, so what it was found to belong to is remembered for the others. Those
 * that come before it are held; it sends itself and them in again, and this time they are known.
 *
 * Two CPUs may have the first and a later one at once. The one writes its record and then looks for held ones; the other holds
 * its own and then looks for the record: at least one of them sees what the other did. Who deletes a held one sends it in.
 */
#pragma once

#include "decide.h"

enum {
	EARLY_OF_DATAGRAM = 44,			       /* of the largest datagram in fragments of 1,500 bytes */
	DATAGRAM_TICKS = 30 * TICKS_A_SECOND,	       /* how long the kernel waits for all of them (ip_frag_time) */
	REUSE_TICKS = DATAGRAM_TICKS - TICKS_A_SECOND, /* what is left of it when an id may be another datagram's */
};

enum { DATAGRAM_OURS = 1, DATAGRAM_NOT_OURS };

enum later_fragment {
	FRAGMENT_KNOWN,	 /* its tuple is complete */
	FRAGMENT_PASSES, /* the host's own stack gets it */
	FRAGMENT_HELD,
	FRAGMENT_NO_ROOM,
};

static __always_inline struct datagram datagram_of(const struct packet *packet)
{
	return (struct datagram){
		.source = packet->tuple.source,
		.destination = packet->tuple.destination,
		.id = packet->fragment_id,
		.protocol = packet->tuple.protocol,
	};
}

static __always_inline bool has_role(const struct address *address, __u32 roles)
{
	__u32 *found = bpf_map_lookup_elem(&addresses, address);
	return found && *found & roles;
}

/* Could it be a balanced connection's? What is not need not wait for its ports. */
static __always_inline bool may_be_balanced(const struct datagram *datagram)
{
	return has_role(&datagram->destination, ADDRESS_VIP | ADDRESS_LOCAL) ||
	       has_role(&datagram->source, ADDRESS_RIP);
}

static __always_inline struct fragmented *record_of(const struct datagram *datagram)
{
	struct fragmented *record = bpf_map_lookup_elem(&fragmented, datagram);
	return record && !due(READ_ONCE(record->good_until), now_in_ticks()) ? record : NULL;
}

static __always_inline struct early_fragment *fragment_copy(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&fragment_copies, &zero);
}

/* A full barrier: what was written before is seen by all before anything is read after. */
static __always_inline void order(struct early_fragment *copy)
{
	(void)__sync_lock_test_and_set(&copy->length, 0);
}

struct release {
	struct __sk_buff *skb;
	struct datagram datagram;
	bool all; /* look further than the first number that is missing */
};

/* The frame becomes the one held, but for its MAC addresses, and comes in by this interface. */
static __always_inline bool send_in_again(struct __sk_buff *skb, struct datagram *datagram,
					  struct early_fragment *early)
{
	__u32 length = early->length;
	bool waits = !due(early->good_until, now_in_ticks());
	if (length <= sizeof(struct ethhdr) || length > EARLY_SIZE)
		return false;
	length -= sizeof(struct ethhdr);
	only_from_here_on(length);
	bool copied = length && length <= EARLY_SIZE - sizeof(struct ethhdr) &&
		      !bpf_skb_change_tail(skb, length + sizeof(struct ethhdr), 0) &&
		      !bpf_skb_store_bytes(skb, sizeof(struct ethhdr), early->frame + sizeof(struct ethhdr), length,
					   BPF_F_RECOMPUTE_CSUM);
	/* another CPU has sent it in, or it was evicted, and perhaps overwritten while it was copied */
	if (bpf_map_delete_elem(&early_fragments, datagram) || !waits)
		return true;
	return copied && !bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS);
}

static long release_one(__u32 number, struct release *release)
{
	release->datagram.number = number;
	struct early_fragment *early = bpf_map_lookup_elem(&early_fragments, &release->datagram);
	if (!early)
		return !release->all;
	if (!send_in_again(release->skb, &release->datagram, early))
		count_drop(DROP_FRAGMENT);
	return 0;
}

struct holding {
	struct datagram datagram;
	struct early_fragment *copy;
	bool held;
};

static long hold_as(__u32 number, struct holding *holding)
{
	holding->datagram.number = number;
	if (bpf_map_lookup_elem(&early_fragments, &holding->datagram))
		return 0;
	holding->held = !bpf_map_update_elem(&early_fragments, &holding->datagram, holding->copy, BPF_NOEXIST);
	return holding->held;
}

/* Keep the frame for its datagram's first fragment. If that has come meanwhile, it may have missed any of those held. */
static __noinline int hold(struct __sk_buff *skb, const struct datagram *datagram)
{
	struct holding holding = {.datagram = *datagram, .copy = fragment_copy()};
	__u32 length = skb->len;
	if (!holding.copy || length > EARLY_SIZE)
		return FRAGMENT_NO_ROOM;
	only_from_here_on(length);
	if (!length || bpf_skb_load_bytes(skb, 0, holding.copy->frame, length))
		return FRAGMENT_NO_ROOM;
	holding.copy->length = length;
	holding.copy->good_until = now_in_ticks() + DATAGRAM_TICKS;
	bpf_loop(EARLY_OF_DATAGRAM, hold_as, &holding, 0);
	if (!holding.held)
		return FRAGMENT_NO_ROOM;
	order(holding.copy);
	if (record_of(datagram)) {
		struct release release = {.skb = skb, .datagram = *datagram, .all = true};
		bpf_loop(EARLY_OF_DATAGRAM, release_one, &release, 0);
	}
	return FRAGMENT_HELD;
}

/* A later fragment gets the ports of its datagram's first one. */
static __always_inline enum later_fragment find_ports(struct __sk_buff *skb, struct packet *packet)
{
	struct datagram datagram = datagram_of(packet);
	struct fragmented *record = record_of(&datagram);
	if (!record)
		return may_be_balanced(&datagram) && !hostile_source(&packet->tuple) ? hold(skb, &datagram)
										     : FRAGMENT_PASSES;
	packet->tuple.ports = record->ports;
	return record->known == DATAGRAM_OURS ? FRAGMENT_KNOWN : FRAGMENT_PASSES;
}

/* The first fragment says whose the others are. One with other ports that follows at once is not believed. */
static __always_inline void write_record(const struct datagram *datagram, __u32 ports, bool ours)
{
	struct fragmented *former = record_of(datagram);
	if (former && !due(READ_ONCE(former->good_until), now_in_ticks() + REUSE_TICKS))
		return;
	struct fragmented record = {
		.ports = ports,
		.known = ours ? DATAGRAM_OURS : DATAGRAM_NOT_OURS,
		.good_until = now_in_ticks() + DATAGRAM_TICKS,
	};
	bpf_map_update_elem(&fragmented, datagram, &record, BPF_ANY);
}

/* Have others waited for this first fragment? Then it goes once more through this hook, and they follow it. */
static __noinline int release_held(struct __sk_buff *skb, const struct datagram *datagram)
{
	struct early_fragment *copy = fragment_copy();
	if (!copy)
		return false;
	order(copy);
	if (!bpf_map_lookup_elem(&early_fragments, datagram))
		return false;
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		count_drop(DROP_FRAGMENT);
	struct release release = {.skb = skb, .datagram = *datagram};
	bpf_loop(EARLY_OF_DATAGRAM, release_one, &release, 0);
	return true;
}

/*
 * A first fragment has been decided on. The host's own datagrams are remembered only where the rest of them would be held. True
 * if the frame has been used up.
 */
static __always_inline bool remember(struct __sk_buff *skb, const struct packet *packet, enum verdict verdict)
{
	struct datagram datagram = datagram_of(packet);
	bool ours = verdict == VERDICT_REQUEST || verdict == VERDICT_REPLY;
	if (verdict == VERDICT_DROP || (!ours && !may_be_balanced(&datagram)))
		return false;
	write_record(&datagram, packet->tuple.ports, ours);
	return release_held(skb, &datagram);
}
