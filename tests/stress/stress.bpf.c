// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Traffic made inside the kernel: one run draws thousands of packets from a few tuples and gives each to the director's own
 * decide() and account(). Two CPUs that run it at once create, hit, answer, close and expire the same connections.
 *
 * What the two add up to is counted here, apart from the director's own counters, by standing between its parts.
 */
#include "../../bpf/connection.h"

/* What one CPU did. Python knows this layout: all words of 64 bits. */
struct tally {
	__u64 random; /* the state of its generator; Python sets the seed */
	__u64 epoch;  /* odd while it handles a packet */
	__u64 packets;
	__u64 passed[2]; /* others, first packets of a connection to a service */
	__u64 requests;
	__u64 replies;
	__u64 late; /* packets whose connection ended between decide() and account() */
	__u64 dropped[DROP_REASONS];
	__u64 created;
	__u64 claimed[2]; /* slots, by side */
	__u64 ended;
	__u64 misdirected; /* a verdict that names another service's or another server's slot */
	__u64 to_service;  /* whether the packet that it handles is a client's */
	__u64 fresh;	   /* 1 when the last packet created a connection */
	__u64 doubled;	   /* tuples that two slots had at once */
	struct iphdr ip;   /* of the packet that it handles: the stack has no room for it */
} __attribute__((aligned(64)));

enum { CPUS = 2, SERVICES = 8, SERVERS = 8 };

/* What the packets are drawn from, and the sweep. Python knows this layout, too: all words of 32 bits. */
struct traffic {
	__u32 service[SERVICES][3]; /* VIP and port as on the wire, protocol */
	__u32 server[SERVERS][2];   /* RIP and port as on the wire */
	__u32 services;
	__u32 servers;
	__u32 clients;
	__u32 packets;	   /* of one run */
	__u32 sweep_every; /* packets between two steps of the sweep, 0 for never */
	__u32 sweeping;
	__u32 step;
	__u32 seen[CPUS]; /* the CPUs' epochs after the last step */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, CPUS);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct traffic);
} traffics SEC(".maps");

static __always_inline struct tally *own_tally(void)
{
	__u32 cpu = bpf_get_smp_processor_id();
	return bpf_map_lookup_elem(&tallies, &cpu);
}

static __always_inline int counted_insert(const struct tuple *tuple, const struct entry *entry, __u32 *index)
{
	int result = insert(tuple, entry, index);
	struct tally *tally = own_tally();
	if (tally && result == CLAIMED)
		tally->claimed[entry->side & 1]++;
	if (tally && result == CLAIMED && entry->side == SIDE_CLIENT)
		tally->fresh = 1;
	return result;
}

static __always_inline bool counted_end(struct connection *owner, __u32 owner_index, __u64 control)
{
	bool ended = end_connection(owner, owner_index, control);
	struct tally *tally = own_tally();
	if (tally && ended)
		tally->ended++;
	return ended;
}

#define insert counted_insert
#define end_connection counted_end
#include "../../bpf/director.bpf.c"
#undef insert
#undef end_connection

static __always_inline __u32 draw(struct tally *tally, __u32 below)
{
	__u64 x = tally->random;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	tally->random = x;
	return (__u32)(x >> 32) % below;
}

/* How often a packet is which: out of 16. First the client's, then the server's. */
static const __u8 request_flags[16] = {
	TCP_SYN, TCP_SYN, TCP_SYN, TCP_SYN,	      TCP_SYN,		 TCP_ACK, TCP_ACK,	     TCP_ACK,
	TCP_ACK, TCP_ACK, TCP_ACK, TCP_FIN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, 0,
};
static const __u8 reply_flags[16] = {
	TCP_SYN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK,
	TCP_ACK,	   TCP_ACK,	      TCP_ACK,		 TCP_ACK,	    TCP_ACK, TCP_FIN | TCP_ACK,
	TCP_FIN | TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST,		 TCP_RST | TCP_ACK,
};

enum { CLIENT_NETWORK = 0x0a090000, CLIENT_PORT = 1024 };

static __always_inline void draw_client(struct tally *tally, const struct traffic *traffic, __be32 *address,
					__be16 *port)
{
	__u32 client = draw(tally, traffic->clients);
	*address = bpf_htonl(CLIENT_NETWORK + 1 + client / 4);
	*port = bpf_htons(CLIENT_PORT + client % 4);
}

/* True when it is a client's packet to a service, false when it is a server's to a client. */
static __always_inline bool draw_packet(struct tally *tally, const struct traffic *traffic, struct packet *packet)
{
	struct iphdr *ip = &tally->ip;
	struct tuple *tuple = &packet->tuple;
	__u32 flags = draw(tally, 16) & 15;
	/* 64 bits wide: the verifier forgets what it knows of a 32-bit remainder */
	__u64 service = draw(tally, traffic->services) & (SERVICES - 1);
	__u64 server = draw(tally, traffic->servers) & (SERVERS - 1);
	tuple->protocol = traffic->service[service][2];
	bool to_service = draw(tally, 2);
	__be16 client_port;
	if (to_service) {
		draw_client(tally, traffic, &ip->saddr, &client_port);
		ip->daddr = traffic->service[service][0];
		tuple->ports = join_ports(client_port, traffic->service[service][1]);
		packet->tcp_flags = request_flags[flags];
	} else {
		draw_client(tally, traffic, &ip->daddr, &client_port);
		ip->saddr = traffic->server[server][0];
		tuple->ports = join_ports(traffic->server[server][1], client_port);
		packet->tcp_flags = reply_flags[flags];
	}
	tuple->source = ipv4_address(ip->saddr);
	tuple->destination = ipv4_address(ip->daddr);
	packet->ip = ip;
	packet->length = 40;
	packet->fragment = !draw(tally, 256);
	return to_service;
}

static __always_inline bool well_directed(const struct packet *packet, const struct decision *decision,
					  enum verdict verdict)
{
	const struct server *server = decision->server;
	const struct tuple *tuple = &packet->tuple;
	if (verdict == VERDICT_REPLY)
		return server->port == (__be16)tuple->ports && same_address(&server->address, &tuple->source);
	return server->service_key.port == tuple->ports >> 16 && server->service_key.protocol == tuple->protocol &&
	       same_address(&server->service_key.vip, &tuple->destination);
}

static __always_inline void tally_drop(struct tally *tally, enum drop_reason reason)
{
	count(reason);
	if (reason < DROP_REASONS)
		tally->dropped[reason]++;
}

static __always_inline bool wants_connection(const struct packet *packet)
{
	return packet->tuple.protocol == IPPROTO_UDP || (packet->tcp_flags & (TCP_SYN | TCP_RST | TCP_ACK)) == TCP_SYN;
}

static __always_inline void act(struct tally *tally, const struct packet *packet)
{
	struct decision decision = {};
	tally->fresh = 0;
	enum verdict verdict = decide(packet, 0, MET_LAST, &decision);
	if (!has_server(&decision) && verdict >= VERDICT_REQUEST)
		return;
	tally->fresh &= verdict == VERDICT_REQUEST;
	tally->created += tally->fresh;
	if (verdict == VERDICT_PASS) {
		tally->passed[tally->to_service && wants_connection(packet)]++;
	} else if (verdict == VERDICT_DROP || verdict == VERDICT_UNREACHABLE) {
		tally_drop(tally, decision.reason);
	} else {
		tally->misdirected += !decision.server || !well_directed(packet, &decision, verdict);
		if (!account(packet, &decision, verdict))
			tally->late++;
		else if (verdict == VERDICT_REQUEST)
			tally->requests++;
		else
			tally->replies++;
	}
}

struct double_search {
	const struct tuple *tuple;
	struct place place;
	__u64 control; /* of the first slot that has the tuple */
	__u32 first;   /* its index + 1 */
	__u32 doubled;
};

/* Is there another slot that has the tuple, while the first one still has it and nothing of it has changed? */
static long find_double(__u32 i, struct double_search *search)
{
	__u32 index = bucket_at(&search->place, i / SLOTS) * SLOTS + i % SLOTS;
	struct connection *connection = slot_at(index);
	if (!connection)
		return 1;
	__u64 control = READ_ONCE(connection->control);
	if ((control & IDENTITY_MASK) != search->place.identity || !same_tuple(connection, search->tuple))
		return 0;
	struct connection *first = search->first ? slot_at(search->first - 1) : NULL;
	if (first && READ_ONCE(connection->control) == control && READ_ONCE(first->control) == search->control)
		search->doubled = 1;
	search->first = index + 1;
	search->control = control;
	return 0;
}

/* Not static: the verifier then looks at it by itself, and not once for every way that leads here. */
__noinline int live_twice(const struct tuple *tuple)
{
	if (!tuple)
		return 0;
	struct double_search search = {.tuple = tuple, .place = place_of(tuple)};
	bpf_loop(PROBES * SLOTS, find_double, &search, 0);
	return search.doubled;
}

/*
 * The sweep relies on a round lasting longer than any program. Here a step takes microseconds, so it waits instead until each
 * CPU has finished the packet that it had when the last step ended.
 */
static __always_inline bool round_is_over(struct traffic *traffic)
{
	for (__u32 cpu = 0; cpu < CPUS; cpu++) {
		struct tally *tally = bpf_map_lookup_elem(&tallies, &cpu);
		if (!tally || (traffic->seen[cpu] & 1 && traffic->seen[cpu] == (__u32)READ_ONCE(tally->epoch)))
			return false;
	}
	return true;
}

static __always_inline void remember_epochs(struct traffic *traffic)
{
	for (__u32 cpu = 0; cpu < CPUS; cpu++) {
		struct tally *tally = bpf_map_lookup_elem(&tallies, &cpu);
		if (tally)
			traffic->seen[cpu] = __sync_fetch_and_add(&tally->epoch, 0);
	}
}

static __always_inline void sweep_step(struct traffic *traffic)
{
	__u32 zero = 0;
	struct settings *setting = bpf_map_lookup_elem(&settings, &zero);
	if (!setting || __sync_lock_test_and_set(&traffic->sweeping, 1))
		return;
	if (round_is_over(traffic)) {
		__u32 now = setting->now + 1;
		WRITE_ONCE(setting->now, now);
		sweep_part(setting->sweeps % SWEEP_TICKS, now);
		remember_epochs(traffic);
	}
	(void)__sync_lock_test_and_set(&traffic->sweeping, 0);
}

static long one_packet(__u32 number, void *nothing __unused)
{
	__u32 zero = 0;
	struct tally *tally = own_tally();
	struct traffic *traffic = bpf_map_lookup_elem(&traffics, &zero);
	if (!tally || !traffic)
		return 1;
	struct packet packet = {};
	tally->to_service = draw_packet(tally, traffic, &packet);
	__sync_fetch_and_add(&tally->epoch, 1);
	act(tally, &packet);
	struct tuple tuple = packet.tuple; /* a copy is pointed at: the stack has no room for all of the packet */
	if (tally->fresh)
		tally->doubled += live_twice(&tuple);
	__sync_fetch_and_add(&tally->epoch, 1);
	tally->packets++;
	if (traffic->sweep_every && number % traffic->sweep_every == 0)
		sweep_step(traffic);
	return 0;
}

SEC("tc")
int make_traffic(struct __sk_buff *skb __unused)
{
	__u32 zero = 0;
	struct traffic *traffic = bpf_map_lookup_elem(&traffics, &zero);
	return traffic ? bpf_loop(traffic->packets, one_packet, NULL, 0) : 0;
}
