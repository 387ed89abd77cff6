// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What the director is measured against: nothing at all, the least that a DR director over the kernel's own hash tables can do
 * (no state, no counters, no expiry but the LRU's), a bare insertion into those tables, and a cache miss.
 */
#include "bench.h"

enum { DEFAULT_FLOWS = 1024, STEPS = 64 };

struct flow {
	__be32 source;
	__be32 destination;
	__be16 source_port;
	__be16 destination_port;
	__u8 protocol;
	__u8 pad[3];
};
_Static_assert(sizeof(struct flow) == 16, "a hash key has no hidden padding");

struct virtual_address {
	__be32 vip;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

struct way {
	__u64 macs;
	__u32 last_macs;
	__u32 interface;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, struct virtual_address);
	__type(value, __u32);
} known_services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct way);
} ways SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, DEFAULT_FLOWS);
	__type(key, struct flow);
	__type(value, __u32);
} lru_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DEFAULT_FLOWS);
	__type(key, struct flow);
	__type(value, __u32);
} hash_flows SEC(".maps");

/* A line of memory that says which line to read next. */
struct line {
	__u32 next;
	__u32 rest[15];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct line);
} lines SEC(".maps");

SEC("xdp")
int pass_xdp(struct xdp_md *ctx __unused)
{
	return XDP_PASS;
}

SEC("tc")
int pass_tc(struct __sk_buff *skb __unused)
{
	return TC_ACT_OK;
}

enum { OUTER = sizeof(struct iphdr) };

/* What a tunnel has to do whatever else it does; the driver takes the room back. */
SEC("xdp")
int make_room_xdp(struct xdp_md *ctx)
{
	return bpf_xdp_adjust_head(ctx, -OUTER) ? XDP_ABORTED : XDP_TX;
}

static __always_inline bool is_tcp(const struct headers *headers)
{
	return headers->eth->h_proto == bpf_htons(ETH_P_IP) && *(__u8 *)headers->ip == NO_OPTIONS &&
	       headers->ip->protocol == IPPROTO_TCP;
}

static __always_inline struct flow flow_of(const struct headers *headers)
{
	return (struct flow){
		.source = headers->ip->saddr,
		.destination = headers->ip->daddr,
		.source_port = headers->tcp->source,
		.destination_port = headers->tcp->dest,
		.protocol = IPPROTO_TCP,
	};
}

/* The way that an established connection's packet leaves by. */
static __always_inline struct way *minimal_dr(void *data, void *data_end)
{
	struct headers headers;
	if (!find_headers(data, data_end, &headers) || !is_tcp(&headers))
		return NULL;
	struct virtual_address wanted = {headers.ip->daddr, headers.tcp->dest, IPPROTO_TCP, 0};
	if (!bpf_map_lookup_elem(&known_services, &wanted))
		return NULL;
	struct flow flow = flow_of(&headers);
	__u32 *server = bpf_map_lookup_elem(&lru_flows, &flow);
	struct way *way = server ? bpf_map_lookup_elem(&ways, server) : NULL;
	if (way)
		write_macs(headers.eth, way->macs, way->last_macs);
	return way;
}

SEC("xdp")
int minimal_dr_xdp(struct xdp_md *ctx)
{
	return minimal_dr((void *)(long)ctx->data, (void *)(long)ctx->data_end) ? XDP_TX : XDP_DROP;
}

SEC("tc")
int minimal_dr_tc(struct __sk_buff *skb)
{
	struct way *way = minimal_dr((void *)(long)skb->data, (void *)(long)skb->data_end);
	return way ? (int)bpf_redirect(way->interface, 0) : TC_ACT_SHOT;
}

static __always_inline int insert_into(void *map, struct xdp_md *ctx)
{
	struct headers headers;
	if (!find_headers((void *)(long)ctx->data, (void *)(long)ctx->data_end, &headers) || !is_tcp(&headers))
		return XDP_DROP;
	struct flow flow = flow_of(&headers);
	__u32 server = 0;
	return bpf_map_update_elem(map, &flow, &server, 0) ? XDP_DROP : XDP_TX;
}

SEC("xdp")
int insert_lru(struct xdp_md *ctx)
{
	return insert_into(&lru_flows, ctx);
}

SEC("xdp")
int insert_hash(struct xdp_md *ctx)
{
	return insert_into(&hash_flows, ctx);
}

__u32 standing;

/* STEPS loads, each of which has to wait for the one before. */
SEC("xdp")
int chase(struct xdp_md *ctx __unused)
{
	__u32 at = standing;
	for (int i = 0; i < STEPS; i++) {
		struct line *line = bpf_map_lookup_elem(&lines, &at);
		if (!line)
			return XDP_ABORTED;
		at = line->next;
	}
	standing = at;
	return XDP_TX;
}

char _license[] SEC("license") = "Dual BSD/GPL";
