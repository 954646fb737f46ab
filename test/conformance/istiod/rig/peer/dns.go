// Istio's agent answers DNS with this server; here it runs alone, with a name table from a file.
package main

import (
	"fmt"
	"os"

	"google.golang.org/protobuf/encoding/protojson"

	dnsclient "istio.io/istio/pkg/dns/client"
	dnsproto "istio.io/istio/pkg/dns/proto"
)

// serveDNS never returns. Resolvers and search domains are those of /etc/resolv.conf.
func serveDNS(addr, namespace, domain, tableFile string) {
	server, err := dnsclient.NewLocalDNSServer(namespace, domain, addr)
	check("dns", err)
	text, err := os.ReadFile(tableFile)
	check("table", err)
	table := &dnsproto.NameTable{}
	check("table", protojson.Unmarshal(text, table))
	server.UpdateLookupTable(table)
	server.StartDNS()
	fmt.Println("dns ready")
	select {}
}
