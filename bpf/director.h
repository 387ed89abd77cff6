/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the data plane and Python: keys, slots, values, enums, drop reasons. `abi.py` is generated from it.
 * Ports and IPv4 addresses are in network byte order, everything else in the machine's.
 */
#pragma once

#include "kernel.h"

/* Says which layouts the maps have. Raise it with every change to a struct below: `pylvs upgrade` compares it. */
enum { ABI_VERSION = 1 };

enum {
	DEFAULT_BUCKETS = 1 << 16,
	DEFAULT_SERVICES = 4096,
	DEFAULT_SERVERS = 16384,
	SLOTS = 8,	  /* of a bucket */
	PROBES = 8,	  /* buckets that a tuple may be in */
	LOCKS = 1024,	  /* stripes that serialise the creation of one tuple */
	INTERFACES = 256, /* a direct-mapped cache, by the low bits of the index */
	RING_HEADER = 2,
};

/* The clock of the data plane counts ticks; every tick sweeps one part of the connection table. */
enum { TICKS_A_SECOND = 8, SWEEP_TICKS = 8, TICK_NS = 1000000000 / 8 };

struct address {
	union {
		__u64 half[2];
		__be32 word[4]; /* IPv4 is ::ffff:a.b.c.d: one path for both families */
	};
};

/* One packet's five values, seen from its sender. */
struct tuple {
	struct address source;
	struct address destination;
	__u32 ports; /* both as they lie in the packet: the source's is the low half */
	__u8 protocol;
};

/* The kernel's own states of a TCP connection (net/netfilter/ipvs), in its order, and one for UDP. */
enum connection_state {
	STATE_NONE,
	STATE_ESTABLISHED,
	STATE_SYN_SENT,
	STATE_SYN_RECV,
	STATE_FIN_WAIT,
	STATE_TIME_WAIT,
	STATE_CLOSE,
	STATE_CLOSE_WAIT,
	STATE_LAST_ACK,
	STATE_LISTEN,
	STATE_SYNACK,
	STATE_UDP,
	STATES,
};

/* Tables by state are a power of two wide, so that a masked index is surely inside, also for the verifier of Linux 6.1. */
enum { STATE_SLOTS = 16 };
_Static_assert(STATES <= STATE_SLOTS, "every state has its place");

enum forwarding_method {
	METHOD_NAT,
	METHOD_DR,
	METHODS,
};

enum slot_phase {
	PHASE_FREE,
	PHASE_BUSY, /* somebody fills it in or clears it away: not to be read */
	PHASE_LIVE,
	PHASE_DEAD, /* not to be used any more; the sweep frees it once nobody can still be reading it */
};

enum slot_side {
	SIDE_CLIENT, /* owns state, counters and the end of the connection */
	SIDE_SERVER, /* finds the answers of a NAT server */
};

/* Where the fields of `struct connection`'s control word are. */
enum control_shift {
	CONTROL_PHASE = 0,	 /* 2 bits */
	CONTROL_EXPIRING = 2,	 /* the sweep is about to end it; a packet that hits it takes this back */
	CONTROL_SIDE = 3,	 /* 1 bit */
	CONTROL_METHOD = 4,	 /* 4 bits */
	CONTROL_STATE = 8,	 /* 8 bits */
	CONTROL_PROTOCOL = 16,	 /* 8 bits */
	CONTROL_AWAY = 24,	 /* it is not in its home bucket */
	CONTROL_GENERATION = 32, /* 16 bits, counts the uses of the slot */
	CONTROL_TAG = 48,	 /* 16 bits of the tuple's hash */
};

/*
 * A slot of the connection table: one cache line. `control` is only ever changed by compare-and-swap; `deadline` is a plain
 * store by whoever saw the last packet; the rest is constant while the slot is live.
 */
struct connection {
	__u64 control;
	struct address source;
	struct address destination;
	__be16 source_port;
	__be16 destination_port;
	__u32 deadline; /* the tick at which it ends, unless the other side's is later */
	__u32 server;
	__u32 reserved;
	__u32 peer;	/* index + 1 of the other side's slot, 0 where there is none */
	__u32 overflow; /* slot 0 only: how many that belong in this bucket are elsewhere */
};
_Static_assert(sizeof(struct connection) == 64, "a slot is a cache line");

struct bucket {
	struct connection slot[SLOTS];
};

struct service_key {
	struct address vip;
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};
_Static_assert(sizeof(struct service_key) == 24, "a hash key has no hidden padding");

/* How the data plane picks from a service's ring. */
enum selection {
	SELECT_TURN,	       /* the next turn */
	SELECT_LEAST,	       /* the least load */
	SELECT_WEIGHTED_LEAST, /* the least load by weight */
};

enum { NAME_SIZE = 16 };

struct statistics {
	__u64 connections;
	__u64 in_packets;
	__u64 out_packets;
	__u64 in_bytes;
	__u64 out_bytes;
};

/* A virtual service. First what a packet needs, then what changes with each connection, then what Python keeps. */
struct service {
	struct service_key key;
	__u32 in_use;
	__u32 selection;
	char scheduler[NAME_SIZE];

	__u64 turns_taken __attribute__((aligned(64)));

	__u64 turns_at_swap __attribute__((aligned(64))); /* `turns_taken` when the ring was last swapped */
	__u32 mark;					  /* the scheduler's memory of where it stood then */
	__u32 ring_size;
	__u32 ring_start;
	__u32 pad;
	struct statistics zero; /* the statistics when they were last set to zero */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct service) == 192, "three cache lines");

enum server_phase {
	SERVER_FREE,
	SERVER_AVAILABLE,
	SERVER_DELETED, /* kept for its connections, and in case that it comes back */
};

/* Towards a server: the MACs to write and the interface to leave by, good until a tick. */
struct next_hop {
	__u64 destination_mac; /* 6 bytes as they are on the wire; above them the low half of the interface's index */
	__u64 source_mac;      /* the same; above them the high half */
	__u32 good_until;
	__u32 mtu;
	__be32 gateway;	     /* the neighbour to send to: the server itself where it is on-link */
	__u32 answers_until; /* the tick until which XDP may send the server's answers without asking the kernel to probe */
};

/* A real server of one service. First what a packet needs, then what changes with each connection, then what Python keeps. */
struct server {
	struct address address;
	__be16 port;
	__u8 method;
	__u8 phase;
	__u32 weight;
	__u32 service;
	__u32 interface; /* to leave by where the kernel doesn't route (ip_forward=0); 0: unknown */
	struct next_hop next_hop;

	__u64 load __attribute__((aligned(64))); /* active << 32 | inactive */

	struct service_key service_key __attribute__((aligned(64)));
	__u64 serial;	  /* the higher, the nearer to the head of the service's list */
	__u32 deleted_at; /* the tick */
	__u32 upper_threshold;
	__u32 lower_threshold;
	__u32 pad;
	struct statistics zero;
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct server) == 256, "four cache lines");

#define LOAD_ACTIVE (1ULL << 32)
#define LOAD_INACTIVE 1ULL

struct settings {
	__u32 now; /* in ticks: the sweep writes it, packets read it */
	__u32 abi_version;
	__u32 buckets;
	__u32 sweeps; /* parts swept so far: SWEEP_TICKS of them are a round */
	__u64 seed[6];
	__u32 timeout[STATE_SLOTS]; /* in ticks, by state */
	__u32 clock_stopped;	    /* for tests: `now` is not to move by itself */
	__u32 services_used;	    /* Python looks no further than here */
	__u32 servers_used;
	__u64 next_serial;
};

/* How frames may be sent out of an interface from XDP. */
enum xdp_sending {
	XDP_SENDING_NOT,
	XDP_SENDING_DIRECT,
	XDP_SENDING_BY_REDIRECT, /* veth: what XDP_TX sends lies in the peer's ring unless the peer has an XDP program too */
};

/* An interface that the director is attached to. */
struct interface {
	__u32 index;
	__u8 mac[ETH_ALEN];
	__u8 xdp_sending;
	__u8 made_clsact; /* the qdisc is ours, to be removed when we leave */
};

struct creation_lock {
	struct bpf_spin_lock lock;
} __attribute__((aligned(64)));

struct sweep {
	struct bpf_timer timer;
};

/*
 * Why a packet was dropped. PASS until the packet is surely ours, then a drop has a name.
 * The comments are the manual's text: cause; remedy.
 */
enum drop_reason {
	DROP_NO_SERVER, /* every real server of the service is quiesced, or it has none; add one or raise a weight */
	DROP_SERVER_DELETED, /* the connection's real server was deleted; add it again, or let its clients reconnect */
	DROP_TABLE_FULL,     /* no slot for a new connection; attach with a larger table (--connections) */
	DROP_TUPLE_IN_USE, /* a client uses one port for two services of one NAT server; it passes when the older one ends */
	DROP_TTL_EXCEEDED, /* the packet's time to live ended at the director; look for a routing loop */
	DROP_NO_ROUTE,	   /* no route to the real server or back to the client; see `ip route get`, and ip_forward=1 */
	DROP_TOO_BIG,	   /* larger than the MTU of the way out; make the MTUs of the network equal */
	DROP_FRAGMENT,	   /* a fragment of a datagram for a service; send datagrams that fit the MTU */
	DROP_ENDED,	   /* the connection ended while this packet was on its way; the client sends it again */
	DROP_REWRITE,	   /* the kernel refused to change the packet; please report it */
	DROP_REASONS,
};
