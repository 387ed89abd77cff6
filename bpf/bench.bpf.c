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

static __always_inline void make_packet(void *data, void *data_end)
{
	struct headers headers;
	if (!find_headers(data, data_end, &headers))
		return;
	__u32 flow = drawn_flow();
	__be32 client = bpf_htonl(load.first_client + (flow >> FLOWS_OF_CLIENT_BITS));
	__u32 client_port = bpf_htons(FIRST_PORT + (flow & ((1 << FLOWS_OF_CLIENT_BITS) - 1)));
	write_macs(headers.eth, load.macs, load.last_macs);
	*(__u32 *)&headers.ip->ttl = load.ttl_protocol_check;
	if (load.reply) {
		headers.ip->saddr = bpf_htonl(load.first_server + (flow & load.server_mask));
		headers.ip->daddr = client;
		*(__u32 *)&headers.tcp->source = load.port | client_port << 16;
	} else {
		headers.ip->saddr = client;
		headers.ip->daddr = load.vip;
		*(__u32 *)&headers.tcp->source = client_port | (__u32)load.port << 16;
	}
}

SEC("xdp")
int drive_xdp(struct xdp_md *ctx)
{
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
