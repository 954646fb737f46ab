/** What `meshlet-hub init` writes: a hub that serves at once, and Istio's YAML to go on from. */

export type FirstFile = { readonly name: string; readonly text: string }

/** @param folder absolute */
export function writeFirstFiles(folder: string): FirstFile[] {
  return [
    { name: 'hub.yaml', text: hubYaml(folder) },
    { name: 'resources/hello.yaml', text: HELLO },
    { name: 'resources/mesh.yaml', text: MESH },
    { name: 'resources/orders.yaml.example', text: ORDERS },
  ]
}

const hubYaml = (folder: string): string => `# A hub for this site. Every setting: deploy/edge/hub.yaml.

# Where devices connect.
listen: 0.0.0.0:15012

# Names and addresses by which devices call the hub: put its own here.
dnsNames: [localhost, 127.0.0.1]

# First part of every identity: spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/SERVICE-ACCOUNT. An istiod that is to take over
# later has the same one.
trustDomain: cluster.local

# Istio's YAML, and resources of Envoy. A change is sent to the devices within a second.
resources: ${folder}/resources

# CA and registry. Back it up: meshlet-hub backup FILE.
state: ${folder}/state
`

const HELLO = `# A service, and what is answered in its place. A device with an HTTP proxy port gets it at once:
#
#   curl -x http://127.0.0.1:15080 http://hello.mesh.internal/hello
#
# All of this is Istio's API (https://istio.io/latest/docs/reference/config/networking/): an istiod takes the same files.
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: hello
  namespace: edge
spec:
  hosts: [hello.mesh.internal]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  # Not a member of the mesh: no mTLS towards it.
  location: MESH_EXTERNAL
  # STATIC: the addresses stand here. DNS: they are looked up by the name above.
  resolution: STATIC
  endpoints:
  # Put the address of your service here.
  - address: 192.0.2.10
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: hello
  namespace: edge
spec:
  hosts: [hello.mesh.internal]
  http:
  # The first match counts.
  - match:
    - uri: {exact: /hello}
    directResponse:
      status: 200
      body: {string: "hello from the mesh\\n"}
  # Everything else goes to the service.
  - route:
    - destination: {host: hello.mesh.internal}
    timeout: 5s
    retries: {attempts: 2, retryOn: "connect-failure,refused-stream"}
`

const MESH = `# For the whole mesh, since it stands in the root namespace: what arrives at a device comes over mTLS.
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata:
  name: default
  namespace: istio-system
spec:
  mtls: {mode: STRICT}
`

const ORDERS = `# A service on one device that others call over mTLS. To use it: put in the address of the device, rename the file to
# orders.yaml, and join the device with
#
#   meshlet-hub token create -n shop -s orders --name orders-1
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local]
  ports:
  - {number: 8000, name: http, protocol: HTTP}
  location: MESH_INTERNAL
  resolution: STATIC
  endpoints:
  # The port at which the device is reached, and who answers there.
  - {address: 10.0.0.2, ports: {http: 8443}, labels: {app: orders}, serviceAccount: orders}
---
# At the device: what arrives at 8443 goes to the program at 8080.
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: orders, namespace: shop}
spec:
  ingress:
  - port: {number: 8443, name: http, protocol: HTTP}
    bind: 0.0.0.0
    captureMode: NONE
    defaultEndpoint: 127.0.0.1:8080
---
# Who may do what there.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: orders, namespace: shop}
spec:
  action: DENY
  rules:
  - to:
    - operation: {paths: [/admin]}
    from:
    - source: {notNamespaces: [office]}
`
