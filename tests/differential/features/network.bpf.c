/* Packets with variable offsets, helpers that move them, fields of the contexts. */
#include "common.h"
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

MAP(counts, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, 256);

static __always_inline int parse(void *data, void *end)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	if (ip->ihl < 5)
		return -1;
	tcp = (void *)ip + ip->ihl * 4;
	if ((void *)(tcp + 1) > end)
		return -1;
	return tcp->dest + ip->protocol;
}

SEC("xdp") int xdp_parse(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	int port = parse(data, end);
	__u32 key = port & 255;
	__u64 *count = bpf_map_lookup_elem(&counts, &key);

	if (count)
		*count += end - data;
	return port == 80 ? XDP_DROP : XDP_PASS;
}

SEC("tc") int tc_parse(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + sizeof(struct ethhdr) + sizeof(struct iphdr) > end) {
		if (bpf_skb_pull_data(skb, 54))
			return 0;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	return parse(data, end);
}

SEC("tc") int tc_write(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 at = skb->cb[0] & 31;

	if (data + 64 > end)
		return 0;
	data[40] = 1;
	data += at;
	if (data + 8 <= end)
		*(__u64 *)data = bpf_get_prandom_u32();
	skb->mark = at;
	skb->cb[4] = skb->len + skb->ifindex;
	return skb->tc_classid;
}

SEC("socket") int socket_load(struct __sk_buff *skb)
{
	char head[32] = {};

	if (bpf_skb_load_bytes(skb, 14, head, sizeof(head)) < 0)
		return 0;
	return head[skb->pkt_type & 31] + skb->hash;
}

SEC("cgroup_skb/ingress") int cgroup(struct __sk_buff *skb)
{
	__u8 *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 total = 0;
	int i;

	for (i = 0; i < 16; i++) {
		if (data + i + 1 > end)
			break;
		total += data[i];
	}
	return total > 100 && skb->family == 2;
}

SEC("xdp") int xdp_bytes(struct xdp_md *ctx)
{
	char bytes[24];
	__u32 n = ctx->rx_queue_index;

	if (n > sizeof(bytes) || !n)
		return XDP_ABORTED;
	if (bpf_xdp_load_bytes(ctx, 2, bytes, n))
		return XDP_PASS;
	return bpf_xdp_store_bytes(ctx, 2, bytes, sizeof(bytes)) ? XDP_TX : XDP_DROP;
}
