// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The driver of the benchmark: for each packet it restores what the last run changed, makes the frame one of a drawn flow, and
 * jumps to the program under test. That is a tail call with a constant index, which the JIT makes a plain jump: so any program
 * can be tested as it is, with a stack of its own. All else about the frame is as BPF_PROG_TEST_RUN was given it.
 */
#include "bench.h"

enum draw {
	DRAW_UNIFORM, /* any flow, as likely as any other: the worst case for caches */
	DRAW_ORDERED, /* one after the other: to create flows */
	DRAW_LISTED,  /* as `draws` says */
};

enum { DRAWS = 1 << 20, FLOWS_OF_CLIENT_BITS = 15, FIRST_PORT = 1024 };

/* Set before loading. Python knows this layout: see Load in src/pylvs/bench/driver.py. */
const volatile struct {
	__u64 macs;
	__u32 last_macs;
	__u32 ttl_protocol_check;
	__u32 draw;
	__u32 flows;
	__u32 first;	    /* flow of an ordered draw */
	__u32 first_client; /* address, in the machine's order */
	__be32 vip;
	__be16 port; /* of the service, and of its servers */
	__u16 reply; /* packets come from a server */
	__u32 first_server;
	__u32 server_mask; /* flow i belongs to server (i & mask); what is under test took turns in that order */
	__u32 first_local; /* replies go to FULLNAT's local addresses: see `struct answer`. 0: to clients */
	__u32 wrapped; /* so many bytes the last run has put before the packet, in which case it is longer than this: */
	__u32 length;
	__u32 ipv6; /* every address stands behind this prefix: */
	__be32 prefix[3];
} load SEC(".rodata.load");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, DRAWS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u32);
} draws SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} xdp_under_test SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} tc_under_test SEC(".maps");

__u64 position;

static __always_inline __u32 drawn_flow(void)
{
	if (load.draw == DRAW_ORDERED)
		return load.first + position++;
	if (load.draw == DRAW_LISTED) {
		__u32 index = position++ % DRAWS;
		__u32 *flow = bpf_map_lookup_elem(&draws, &index);
		return flow ? *flow : 0;
	}
	position = position * 6364136223846793005ULL + 1442695040888963407ULL;
	return (position >> 32) * load.flows >> 32;
}

struct flow {
	__be32 source;
	__be32 destination;
	__u32 ports; /* both as they lie in the packet */
};

/* A flow of FULLNAT as its server answers: which server (8 bits), which local address (8), which port (16, as on the wire). */
static __always_inline struct flow answer_of(__u32 drawn)
{
	return (struct flow){
		.source = bpf_htonl(load.first_server + (drawn >> 24)),
		.destination = bpf_htonl(load.first_local + (drawn >> 16 & 0xff)),
		.ports = load.port | drawn << 16,
	};
}

static __always_inline struct flow next_flow(void)
{
	__u32 drawn = drawn_flow();
	if (load.first_local)
		return answer_of(drawn);
	__be32 client = bpf_htonl(load.first_client + (drawn >> FLOWS_OF_CLIENT_BITS));
	__u32 client_port = bpf_htons(FIRST_PORT + (drawn & ((1 << FLOWS_OF_CLIENT_BITS) - 1)));
	if (load.reply)
		return (struct flow){bpf_htonl(load.first_server + (drawn & load.server_mask)), client,
				     load.port | client_port << 16};
	return (struct flow){client, load.vip, client_port | (__u32)load.port << 16};
}

static __always_inline void write_address(__be32 *words, __be32 last)
{
	words[0] = load.prefix[0];
	words[1] = load.prefix[1];
	words[2] = load.prefix[2];
	words[3] = last;
}

static __always_inline void make_packet6(void *data, void *data_end)
{
	struct ethhdr *eth = data;
	struct ipv6hdr *ip6 = data + sizeof(*eth);
	struct tcphdr *tcp = (void *)(ip6 + 1);
	if ((void *)(tcp + 1) > data_end)
		return;
	struct flow flow = next_flow();
	write_macs(eth, load.macs, load.last_macs);
	eth->h_proto = bpf_htons(ETH_P_IPV6);
	ip6->hop_limit = load.ttl_protocol_check;
	write_address(ip6->saddr, flow.source);
	write_address(ip6->daddr, flow.destination);
	*(__u32 *)&tcp->source = flow.ports;
}

static __always_inline void make_packet(void *data, void *data_end)
{
	struct headers headers;
	if (load.ipv6)
		return make_packet6(data, data_end);
	if (!find_headers(data, data_end, &headers))
		return;
	struct flow flow = next_flow();
	write_macs(headers.eth, load.macs, load.last_macs);
	headers.eth->h_proto = bpf_htons(ETH_P_IP);
	*(__u32 *)&headers.ip->ttl = load.ttl_protocol_check;
	headers.ip->saddr = flow.source;
	headers.ip->daddr = flow.destination;
	*(__u32 *)&headers.tcp->source = flow.ports;
}

SEC("xdp")
int drive_xdp(struct xdp_md *ctx)
{
	if (load.wrapped && ctx->data_end - ctx->data > load.length && bpf_xdp_adjust_head(ctx, load.wrapped))
		return XDP_ABORTED;
	make_packet((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	bpf_tail_call(ctx, &xdp_under_test, 0);
	return XDP_ABORTED;
}

SEC("tc")
int drive_tc(struct __sk_buff *skb)
{
	make_packet((void *)(long)skb->data, (void *)(long)skb->data_end);
	bpf_tail_call(skb, &tc_under_test, 0);
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "Dual BSD/GPL";
