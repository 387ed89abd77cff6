/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The contract between the data plane and Python: keys, slots, values, enums, drop reasons. `abi.py` is generated from it.
 * Ports and IPv4 addresses are in network byte order, everything else in the machine's.
 */
#pragma once

#include "kernel.h"

/* Says which layouts the maps have. Raise it with every change to a struct below: `pylvs upgrade` compares it. */
enum { ABI_VERSION = 3 };

enum {
	DEFAULT_BUCKETS = 1 << 16,
	DEFAULT_SERVICES = 4096,
	DEFAULT_SERVERS = 16384,
	LOCALS = 4096, /* local addresses of all FULLNAT services */
	LOCALS_OF_SERVER = 31,
	SLOTS = 8,	  /* of a bucket */
	PROBES = 8,	  /* buckets that a tuple may be in */
	LOCKS = 1024,	  /* stripes that serialise the creation of one tuple */
	INTERFACES = 256, /* a direct-mapped cache, by the low bits of the index */
	RING_HEADER = 3,
	RING_WORDS = 32,   /* of an element of a ring: each costs a look-up, which is more than reading all of one */
	FRAGMENTED = 4096, /* datagrams in fragments at one time */
	EARLY_FRAGMENTS = 512,	/* fragments that came before the first of their datagram */
	EARLY_SIZE = 2048,	/* bytes of such a frame */
	EVENTS_SIZE = 1 << 20,	/* bytes of the ring of events */
	DESTINATIONS = 1 << 14, /* of lblc and lblcr, all services together */
	SERVERS_OF_DESTINATION = 31,
	PATH_SIZE = 1024, /* of the file of a user's own scheduler, with its final zero */
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

/* The kernel's own states of a connection (net/netfilter/ipvs), in its order: TCP's, UDP's only one, SCTP's. */
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
	STATE_SCTP_NONE,
	STATE_SCTP_INIT1,
	STATE_SCTP_INIT,
	STATE_SCTP_COOKIE_SENT,
	STATE_SCTP_COOKIE_REPLIED,
	STATE_SCTP_COOKIE_WAIT,
	STATE_SCTP_COOKIE,
	STATE_SCTP_COOKIE_ECHOED,
	STATE_SCTP_ESTABLISHED,
	STATE_SCTP_SHUTDOWN_SENT,
	STATE_SCTP_SHUTDOWN_RECEIVED,
	STATE_SCTP_SHUTDOWN_ACK_SENT,
	STATE_SCTP_REJECTED,
	STATE_SCTP_CLOSED,
	STATES,
};

/* Tables by state are a power of two wide, so that a masked index is surely inside, also for the verifier of Linux 6.1. */
enum { STATE_SLOTS = 32 };
_Static_assert(STATES <= STATE_SLOTS, "every state has its place");

enum forwarding_method {
	METHOD_NAT,
	METHOD_DR,
	METHOD_TUN,
	METHOD_FULLNAT,
	METHODS,
};

enum tunnel_type { TUNNEL_IPIP, TUNNEL_GUE, TUNNEL_GRE };
enum tunnel_checksum { TUNNEL_NOCSUM, TUNNEL_CSUM, TUNNEL_REMCSUM };

struct tunnel {
	__u8 type;
	__u8 checksum;
	__be16 port; /* GUE only */
};

enum slot_phase {
	PHASE_FREE,
	PHASE_BUSY, /* somebody fills it in or clears it away: not to be read */
	PHASE_LIVE,
	PHASE_DEAD, /* not to be used any more; it is freed once nobody can still be reading it */
};

enum slot_side {
	SIDE_CLIENT, /* owns state, counters and the end of the connection */
	SIDE_SERVER, /* finds the answers of a NAT or FULLNAT server */
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
	CONTROL_SETTLED = 25,	 /* FULLNAT: the server has been told the client's address */
	CONTROL_ASSURED = 26,	 /* a template: one of its connections was answered */
	CONTROL_HERE = 27,	 /* the client is a program on the director itself */
	CONTROL_RESTING = 28,	 /* evicted: `deadline` is the number of sweeps at which it was */
	CONTROL_TOLD = 29,	 /* another director told of it: see take_over.h */
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
	__u32 link;	/* see `enum link` */
	__u32 peer;	/* index + 1 of the other side's slot, 0 where there is none */
	__u32 overflow; /* slot 0 only: how many that belong in this bucket are elsewhere */
};
_Static_assert(sizeof(struct connection) == 64, "a slot is a cache line");

/*
 * What a slot's `link` is. A connection of a persistent service names its template (index + 1), in the client side's slot; only FULLNAT
 * needs that place for its local address (index in `locals` in the high half, port as on the wire in the low one) and has the
 * template in the server side's. A template counts its connections.
 *
 * A template is a slot whose protocol has this bit: its source is the client's network, its ports are 0 and the service's.
 */
enum { TEMPLATE_PROTOCOL = 0x40 };

struct bucket {
	struct connection slot[SLOTS];
};

/* Of a service known by its firewall mark: protocol 0, port 0, and the mark as an address of its family (7: 0.0.0.7, ::7). */
struct service_key {
	struct address vip;
	__be16 port;
	__u8 protocol;
	__u8 pad[5];
};
_Static_assert(sizeof(struct service_key) == 24, "a hash key has no hidden padding");

/*
 * A ring is these one after the other: how many turns, what to add to `turns_taken`, where the last lap begins (a search in vain
 * before it begins again at the first turn), then the server of each turn.
 */
struct ring_part {
	__u32 word[RING_WORDS];
};

/* How the data plane picks from a service's ring. */
enum selection {
	SELECT_TURN,	       /* the next turn */
	SELECT_LEAST,	       /* the least load */
	SELECT_WEIGHTED_LEAST, /* the least load by weight */
	SELECT_SHORTEST_DELAY, /* the least (active + 1) by weight */
	SELECT_NEVER_QUEUE,    /* the first without active connections, else the shortest delay */
	SELECT_HEAVIEST,
	SELECT_HEAVIEST_NOT_FULL, /* of those with no more active connections than they weigh */
	SELECT_LESS_OF_TWO,	  /* of two that are drawn by weight the less loaded */
	SELECT_LOCALITY,	  /* whom the destination had before */
	SELECT_LOCALITY_SET,	  /* the least loaded of those whom it had before */
	SELECT_SOURCE,		  /* by a hash of the client */
	SELECT_DESTINATION,
	SELECT_MAGLEV, /* of the client, too, by a better hash */
};

/* What -b says of a scheduler that hashes the client. */
enum scheduler_flag { SCHEDULER_FALLBACK = 0x08, SCHEDULER_PORT = 0x10 };

enum { NAME_SIZE = 16 };

struct statistics {
	__u64 connections;
	__u64 in_packets;
	__u64 out_packets;
	__u64 in_bytes;
	__u64 out_bytes;
};

/* What a rate is in: 1024ths of connections and packets a second, 32nds of bytes. */
enum { RATE_COUNT_SHIFT = 10, RATE_BYTE_SHIFT = 5 };

struct rate {
	struct statistics last; /* what there was when it was last looked at */
	struct statistics rate;
};

/* Names a connection to be ended: its client side's slot, and the high half of the control word there. */
struct named {
	__u32 slot;
	__u32 use;
};
enum { ENDINGS_AT = 16, ENDINGS = 128 }; /* where they are in a frame, and how many */

/* Local addresses, as numbers of `locals`. */
struct pool {
	__u16 local[LOCALS_OF_SERVER];
	__u16 size; /* last, so that an index of five bits is surely inside */
};
_Static_assert(sizeof(struct pool) == 64, "a cache line");

/* A virtual service. First what a packet needs, then what changes with each connection, then what Python keeps. */
struct service {
	struct service_key key;
	__u32 in_use;
	__u32 selection;
	char scheduler[NAME_SIZE];
	__u32 persistence; /* ticks that a template lasts, 0: it has none */
	__u32 one_packet;  /* no connection is kept */

	__u64 turns_taken __attribute__((aligned(64)));

	__u64 turns_at_swap __attribute__((aligned(64))); /* `turns_taken` when the ring was last swapped */
	__u32 mark;					  /* the scheduler's memory of where it stood then */
	__u32 ring_size;
	__u32 ring_start;
	__u32 scheduler_flags;
	struct statistics zero; /* the statistics when they were last set to zero */

	struct address netmask; /* which clients share a template; of IPv4 the last word, above it all ones */
	char engine[NAME_SIZE];
	struct pool pool; /* FULLNAT: the local addresses asked for; none: the director's own */

	__u64 memory; /* lblc, lblcr: which of `destinations` are its own; another whenever the scheduler changes */
	__u32 scheduled_from; /* the tick at which it changed */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct service) == 320, "five cache lines");

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
	__u32 answers_until; /* the tick until which XDP may send the server's answers without asking the kernel to probe */
	__u32 pad;
};

/* A real server of one service. First what a packet needs, then what changes with each connection, then what Python keeps. */
struct server {
	struct address address;
	__be16 port;
	__u8 method;
	__u8 phase;
	__u32 service;
	__be16 virtual_port; /* the service's; 0: every port */
	__be16 mapped_port;  /* NAT, FULLNAT: the port that `virtual_port` becomes; 0: the packet keeps its own */
	__u8 local;	     /* it is the director itself: its packets go to the host's own stack */
	__u8 overloaded;     /* has reached its upper threshold and not yet fallen below the lower */
	__u8 many_to_one;    /* the VIP and port of an answer are not those of `service_key`: its connection knows */
	__u8 pad;
	struct next_hop next_hop;

	__u64 load __attribute__((aligned(64))); /* active << 32 | inactive */
	__u32 weight;
	__u32 templates; /* how many persistence templates name it */
	__u32 upper_threshold;
	__u32 lower_threshold;

	struct tunnel tunnel __attribute__((aligned(64)));
	__u32 interface;	/* to leave by where the kernel doesn't route (ip_forward=0); 0: unknown */
	struct address gateway; /* the neighbour to send to: the server itself where it is on-link */
	struct address source;	/* the director's own address towards it: what a tunnel's outer header comes from */

	struct service_key service_key __attribute__((aligned(64)));
	__u64 serial;	   /* the higher, the nearer to the head of the service's list */
	__u32 deleted_at;  /* the tick */
	__u32 last_weight; /* that was not 0, since it was added */

	struct statistics zero __attribute__((aligned(64)));

	struct pool pool __attribute__((aligned(64))); /* FULLNAT: what its connections may come from */
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct server) == 384, "six cache lines");

#define LOAD_ACTIVE (1ULL << 32)
#define LOAD_INACTIVE 1ULL

/*
 * The kernel's knobs under its own names (Documentation/networking/ipvs-sysctl.rst), in the order of the alphabet; see
 * `pylvs sysctl`. Those that nothing here reads are kept for scripts that set them.
 */
enum knob {
	KNOB_AM_DROPRATE,
	KNOB_AMEMTHRESH,
	KNOB_BACKUP_ONLY,
	KNOB_CACHE_BYPASS,
	KNOB_CONN_REUSE_MODE,
	KNOB_CONNTRACK,
	KNOB_DEBUG_LEVEL,
	KNOB_DROP_ENTRY,
	KNOB_DROP_PACKET,
	KNOB_EST_NICE,
	KNOB_EXPIRE_NODEST_CONN,
	KNOB_EXPIRE_QUIESCENT_TEMPLATE,
	KNOB_IGNORE_TUNNELED,
	KNOB_LBLC_EXPIRATION,
	KNOB_LBLCR_EXPIRATION,
	KNOB_NAT_ICMP_SEND,
	KNOB_PMTU_DISC,
	KNOB_RUN_ESTIMATION,
	KNOB_SCHEDULE_ICMP,
	KNOB_SECURE_TCP,
	KNOB_SLOPPY_SCTP,
	KNOB_SLOPPY_TCP,
	KNOB_SNAT_REROUTE,
	KNOB_SYNC_PERSIST_MODE,
	KNOB_SYNC_PORTS,
	KNOB_SYNC_QLEN_MAX,
	KNOB_SYNC_REFRESH_PERIOD,
	KNOB_SYNC_RETRIES,
	KNOB_SYNC_SOCK_SIZE,
	KNOB_SYNC_THRESHOLD,
	KNOB_SYNC_VERSION,
	KNOB_LOCAL_PORT_FIRST, /* FULLNAT: the ports of local addresses, from */
	KNOB_LOCAL_PORT_LAST,  /* to */
	KNOBS,
};
enum { KNOB_SLOTS = 64 };
_Static_assert(KNOBS <= KNOB_SLOTS, "every knob has its place");

enum defence { DEFENCE_DROP_ENTRY = 1, DEFENCE_DROP_PACKET = 2, DEFENCE_SECURE_TCP = 4 };

/* Python knows more of it (here.py). */
enum for_own_programs { LOOPBACK_CHANGED = 1 << 16, SEES_ANSWERS = 1 << 17 };

struct settings {
	__u32 now; /* in ticks: the sweep writes it, packets read it */
	__u32 abi_version;
	__u32 defences;	 /* which are up, `enum defence`: the sweep sees to it */
	__u32 drop_rate; /* drop_packet: one of so many new connections */
	__u64 seed[6];
	__u32 timeout[STATE_SLOTS]; /* in ticks, by state */
	__u32 buckets;
	__u32 sweeps;	     /* parts swept so far: SWEEP_TICKS of them are a round */
	__u32 clock_stopped; /* for tests: `now` is not to move by itself */
	__u32 services_used; /* Python looks no further than here */
	__u32 servers_used;
	__u32 watched_until; /* the tick until which somebody wants the events */
	__u64 next_serial;
	__u32 locals_used;
	__u32 live;	/* slots in use, as the last round of the sweep counted them */
	__u32 counting; /* those that this round has counted so far */
	__u32 own_programs; /* what is done for them, `enum for_own_programs`, and the former settings in the first two bytes */
	__u32 knob[KNOB_SLOTS];
	__u64 events_lost; /* for which the ring of events had no room */
};

/* Of a service with a scheduler of the user's own that is no entry point. Only Python reads it. */
struct scheduler_file {
	char path[PATH_SIZE];
};

/* lblc, lblcr: a destination of one service's, and the servers that it had, in the order in which they came. */
struct destination {
	struct address address;
	__u64 memory; /* see `struct service` */
};
_Static_assert(sizeof(struct destination) == 24, "a hash key has no hidden padding");

struct affinity {
	__u32 used_at; /* the tick at which somebody last wanted it */
	__u32 changed_at;
	__u32 size;
	__u32 server[SERVERS_OF_DESTINATION];
};

/* Whose an address is, as far as a fragment without ports can tell. The DIP is the director's own towards a real server. */
enum address_role { ADDRESS_VIP = 1, ADDRESS_RIP = 2, ADDRESS_LOCAL = 4, ADDRESS_DIP = 8 };

/* What the fragments of one datagram have in common. */
struct datagram {
	struct address source;
	struct address destination;
	__u32 id;
	__u8 protocol;
	__u8 number; /* of an early fragment */
	__u8 pad[2];
};
_Static_assert(sizeof(struct datagram) == 40, "a hash key has no hidden padding");

struct fragmented {
	__u32 ports; /* as in a tuple; known once the first fragment was there */
	__u32 known;
	__u32 server; /* index + 1, of one-packet scheduling: no connection knows it */
	__u32 good_until;
};

/* A whole frame that waits for the first fragment of its datagram. */
struct early_fragment {
	__u32 length;
	__u32 good_until;
	__u8 frame[EARLY_SIZE];
};

enum event_kind { EVENT_SCHEDULED, EVENT_EXPIRED, EVENT_EVICTED, EVENT_DELETED, EVENT_DROPPED };

/* What `pylvs watch` shows. What does not apply is zero. */
struct event {
	__u64 at; /* CLOCK_MONOTONIC, in ns */
	struct address client;
	struct address virtual;
	struct address server;
	__be16 client_port;
	__be16 virtual_port;
	__be16 server_port;
	__u8 kind;
	__u8 protocol;
	__u8 state;
	__u8 reason; /* of a drop */
	__u8 method;
	__u8 pad[5];
};
_Static_assert(sizeof(struct event) == 72, "no hidden padding");

/*
 * A connection, or a template, that another director has told of: `take_over` finds them in a frame from the second place on, one
 * after the other, in a frame of so many at most.
 */
struct told {
	struct address client;
	struct address virtual;
	struct address server_address;
	__u32 server;  /* its index here */
	__u32 timeout; /* in ticks, 0: as the state says */
	__be16 client_port;
	__be16 virtual_port;
	__u8 protocol; /* as its slot has it */
	__u8 state;
	__u8 ending;  /* where it was seen, it is no longer active */
	__u8 assured; /* of a template */
};
_Static_assert(sizeof(struct told) == 64, "no hidden padding");
enum { TOLD_AT_ONCE = 32 };

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
	DROP_NO_SERVER, /* every real server of the service is quiesced or overloaded, or it has none; add one or raise a weight */
	DROP_SERVER_DELETED, /* the connection's real server was deleted; add it again, or let its clients reconnect */
	DROP_TABLE_FULL,     /* no slot for a new connection; attach with a larger table (--connections) */
	DROP_TUPLE_IN_USE, /* a client uses one port for two services of one NAT server; it passes when the older one ends */
	DROP_NO_LOCAL_PORT, /* FULLNAT: every port of the local addresses is in use towards this server; add a --local-address */
	DROP_TTL_EXCEEDED, /* the packet's time to live ended at the director; look for a routing loop */
	DROP_NO_ROUTE,	   /* no route to the real server or back to the client; see `ip route get`, and ip_forward=1 */
	DROP_TOO_BIG,	 /* larger than the MTU of the way out; let ICMP (fragmentation needed) through to the client */
	DROP_TUNNEL_MTU, /* the way to a tunnel's real server carries less than any host must take; raise its MTU */
	DROP_FRAGMENT, /* a fragment that can't wait for its first one, be changed alone, or find its next hop; look for reordering */
	DROP_ENDED,	 /* the connection ended while this packet was on its way; the client sends it again */
	DROP_DEFENCE,	 /* drop_packet is on, and it was this new connection's turn; see `pylvs sysctl drop_packet` */
	DROP_ICMP_LIMIT, /* an ICMP error was due and too many had been sent this second; look for what causes them */
	DROP_NO_CONNECTION, /* nat_icmp_send is on, and a NAT server sent what belongs to no connection; it has been told: port unreachable */
	DROP_CHECKSUM, /* an ICMP error about a connection has a wrong checksum; look for what damages it */
	DROP_REWRITE,  /* the kernel refused to change the packet; please report it */
	DROP_REASONS,
};
