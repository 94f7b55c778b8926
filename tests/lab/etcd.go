// The etcd server of a source tree that has its library alone: as much of etcd's own main program (server/etcdmain
// in github.com/etcd-io/etcd) as the flags need that kubeadm writes.
package main

import (
	"flag"
	"fmt"
	"os"

	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/pkg/v3/flags"
	"go.etcd.io/etcd/server/v3/embed"
)

func main() {
	config := embed.NewConfig()
	set := flag.NewFlagSet("etcd", flag.ExitOnError)
	config.AddFlags(set)
	state := set.String("initial-cluster-state", embed.ClusterStateFlagNew, "new or existing")
	says := set.Bool("version", false, "print the version")
	if err := set.Parse(os.Args[1:]); err != nil {
		fail(err)
	}
	if *says {
		fmt.Println("etcd Version: " + version.Version)
		return
	}
	config.ClusterState = *state
	config.ListenPeerUrls = flags.UniqueURLsFromFlag(set, "listen-peer-urls")
	config.ListenClientUrls = flags.UniqueURLsFromFlag(set, "listen-client-urls")
	config.ListenMetricsUrls = flags.UniqueURLsFromFlag(set, "listen-metrics-urls")
	config.AdvertisePeerUrls = flags.UniqueURLsFromFlag(set, "initial-advertise-peer-urls")
	config.AdvertiseClientUrls = flags.UniqueURLsFromFlag(set, "advertise-client-urls")
	config.LogOutputs = []string{"stderr"}
	if err := config.Validate(); err != nil {
		fail(err)
	}
	server, err := embed.StartEtcd(config)
	if err != nil {
		fail(err)
	}
	fail(<-server.Err())
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
