// A real istiod for tests: Istio's own bootstrap, unmodified, over an in-memory Kubernetes client.
//
// Configuration is a directory of Istio YAML, watched. -store file reads it as istiod's --configDir does;
// -store kube writes it into the in-memory API instead, which also switches on what istiod does only there
// (WorkloadGroup auto-registration, health conditions, WasmPlugin). -dump ADDR then serves what the API holds.
// Files *.secret.json are Kubernetes Secrets, for -store kube.
// -dns ADDR runs the DNS server of Istio's agent instead.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"syscall"
	"time"
	"unsafe"

	"istio.io/istio/pilot/pkg/bootstrap"
	"istio.io/istio/pilot/pkg/config/kube/crd"
	"istio.io/istio/pilot/pkg/model"
	"istio.io/istio/pkg/cluster"
	"istio.io/istio/pkg/config"
	"istio.io/istio/pkg/config/schema/collections"
	"istio.io/istio/pkg/kube"
	"istio.io/istio/pkg/kube/kclient/clienttest"
	"istio.io/istio/pkg/test"
)

var gatewayVersion = map[string]string{"gateway.networking.k8s.io/bundle-version": "v1.5.1"}

func main() {
	dir := flag.String("configDir", "config", "directory of Istio YAML, watched")
	mesh := flag.String("meshConfig", "mesh.yaml", "mesh configuration file")
	networks := flag.String("networksConfig", "", "mesh networks file")
	store := flag.String("store", "file", "file | kube")
	grpcAddr := flag.String("grpcAddr", "127.0.0.1:15010", "plaintext xDS")
	secure := flag.String("secureGRPCAddr", "127.0.0.1:15012", "xDS and CA over TLS")
	httpAddr := flag.String("httpAddr", "127.0.0.1:18080", "/debug, /ready")
	mon := flag.String("monitoringAddr", "127.0.0.1:15014", "/metrics, /version")
	dump := flag.String("dump", "", "serve the in-memory API's Istio objects as JSON here (with -store kube)")
	maxAge := flag.Duration("maxAge", 0, "close xDS connections after this long; 0 = never (Helm sets 30m)")
	maxAgeGrace := flag.Duration("maxAgeGrace", 10*time.Second, "how long streams may go on after maxAge (istiod has no flag for it; 10s is its constant)")
	dns := flag.String("dns", "", "nothing but the DNS server of Istio's agent, here (namespace edge)")
	dnsTable := flag.String("dnsTable", "", "its name table (protobuf JSON)")
	flag.Parse()
	if *dns != "" {
		serveDNS(*dns, "edge", "edge.svc.cluster.local", *dnsTable)
	}

	args := bootstrap.NewPilotArgs(func(p *bootstrap.PilotArgs) {
		p.Namespace = "istio-system"
		p.MeshConfigFile = *mesh
		p.NetworksConfigFile = *networks
		if *store == "file" {
			p.RegistryOptions.FileDir = *dir
		}
		p.RegistryOptions.Registries = nil
		p.RegistryOptions.KubeOptions.DomainSuffix = "cluster.local"
		p.RegistryOptions.KubeOptions.ClusterID = cluster.ID("Kubernetes")
		p.ServerOptions.HTTPAddr = *httpAddr
		p.ServerOptions.HTTPSAddr = ""
		p.ServerOptions.GRPCAddr = *grpcAddr
		p.ServerOptions.SecureGRPCAddr = *secure
		p.ServerOptions.MonitoringAddr = *mon
		p.ShutdownDuration = time.Second
		if *maxAge > 0 {
			p.KeepaliveOptions.MaxServerConnectionAge = *maxAge
			p.KeepaliveOptions.MaxServerConnectionAgeGrace = *maxAgeGrace
		}
	})

	client := kube.NewFakeClient()
	behaveAsServer(client)
	check("crds", test.Wrap(func(t test.Failer) {
		for _, s := range collections.All.All() {
			// istiod takes those of the Gateway API only when they say their version.
			clienttest.MakeCRDWithAnnotations(t, client, s.GroupVersionResource(), gatewayVersion)
		}
	}))
	s, err := bootstrap.NewServer(args, func(s *bootstrap.Server) {
		// The field is unexported and its tests set it in-package: bootstrap then skips making a client of its own.
		f := reflect.ValueOf(s).Elem().FieldByName("kubeClient")
		reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem().Set(reflect.ValueOf(client))
	})
	check("new server", err)
	stop := make(chan struct{})
	held := map[key]string{}
	heldSecrets := map[string]string{}
	if *store == "kube" {
		// Before anybody connects, as with an API server that was there first.
		sync(*dir, s.ConfigStores[0], held)
		syncSecrets(*dir, client, heldSecrets)
	}
	check("start", s.Start(stop))
	if *store == "kube" {
		go func() {
			for ; ; time.Sleep(250 * time.Millisecond) {
				sync(*dir, s.ConfigStores[0], held)
				syncSecrets(*dir, client, heldSecrets)
			}
		}()
		if *dump != "" {
			go serve(*dump, s.ConfigStores[0])
		}
	}
	fmt.Println("istiod ready")
	sig := make(chan os.Signal, 1)
	signal.Notify(sig, syscall.SIGINT, syscall.SIGTERM)
	<-sig
	close(stop)
	s.WaitUntilCompletion()
}

func check(what string, err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, what+":", err)
		os.Exit(1)
	}
}

type key struct {
	kind      config.GroupVersionKind
	namespace string
	name      string
}

// sync makes the store equal to the directory; held is what it wrote before.
func sync(dir string, store model.ConfigStore, held map[key]string) {
	want := map[key]config.Config{}
	files, _ := filepath.Glob(filepath.Join(dir, "*.yaml"))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		configs, _, err := crd.ParseInputs(string(text))
		if err != nil {
			fmt.Fprintln(os.Stderr, f+":", err)
			continue
		}
		for _, c := range configs {
			want[key{c.GroupVersionKind, c.Namespace, c.Name}] = c
		}
	}
	for k, c := range want {
		b, _ := json.Marshal(c.Spec)
		text := string(b) + fmt.Sprint(c.Labels, c.Annotations)
		if held[k] == text {
			continue
		}
		var err error
		if old := store.Get(k.kind, k.name, k.namespace); old != nil {
			c.ResourceVersion = old.ResourceVersion
			_, err = store.Update(c)
		} else {
			_, err = store.Create(c)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "store:", k, err)
			continue
		}
		held[k] = text
	}
	for k := range held {
		if _, ok := want[k]; !ok {
			if err := store.Delete(k.kind, k.name, k.namespace, nil); err == nil {
				delete(held, k)
			}
		}
	}
}

func serve(addr string, store model.ConfigStore) {
	check("dump", http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := []config.Config{}
		for _, s := range store.Schemas().All() {
			out = append(out, store.List(s.GroupVersionKind(), "")...)
		}
		_ = json.NewEncoder(w).Encode(out)
	})))
}
