/** docs/hub-istio.md, with a table of what the compiler takes of each kind of Istio's API: from the schemas. */
import { listKinds } from '../hub/istio/read/list-kinds.ts'

const HEAD = `# Istio's YAML in the hub's folder

The folder of a hub (\`resources\` of hub.yaml) may hold Istio's YAML beside resources of Envoy. A device is sent what an istiod would send it, so a site begins with a folder and moves to an istiod without touching a file. \`meshlet-hub init FOLDER\` writes a hub.yaml and a commented example that serves at once.

## What stands where
- Files end in \`.yaml\` or \`.yml\` and hold Kubernetes objects, as many documents as one likes; \`kubectl get -o yaml\` writes such. \`metadata.namespace\` is needed. A file is at most 1 MiB.
- Files at the top of the folder are the mesh. Those in a folder of labels (\`@site=north\`) or of a device's name are beside them for those devices only; an object there takes the place of the one of its kind, namespace and name ([fleet.md](fleet.md)).
- A resource of Envoy wins over a compiled one of its type and name. A cluster or endpoints beside the very ServiceEntry that becomes them, in one folder, are refused, as is one object that stands twice in a folder: which one is meant? Put it into a folder of labels or of a device.
- What is not covered is refused with file, line, column and name, and so is what an istiod's validation refuses, but for a few rare rules of it. While anything in the folder is wrong, nothing of it counts and the revision in force serves on.
- Keys of tokens stand in the RequestAuthentication (\`jwks\`), or each device fetches them (\`jwksUri\`, which counts where both are given), as an istiod with \`PILOT_JWT_ENABLE_REMOTE_JWKS=envoy\` has it: through the service of the address, so a ServiceEntry has to have its host and port, and a DestinationRule its TLS where it is https. Without that, tokens of that issuer get 401 ([istio.md](istio.md), "Tokens"). An istiod without that setting fetches the keys itself.
- A change reaches those devices whose resources it changes. Devices of one namespace whose labels differ only in what nothing selects by are compiled once.

## What a device is
| for istiod | with the hub |
|---|---|
| namespace, service account | of its certificate: \`meshlet-hub token create -n NAMESPACE -s SERVICE-ACCOUNT\` |
| labels, address, locality, \`INTERCEPTION_MODE\` | \`node\` of agent.yaml, as it tells an istiod |
| what arrives at it | endpoints of ServiceEntry with its address in its namespace, or \`ingress\` of a Sidecar |
| trust domain | \`trustDomain\` of hub.yaml |
| mesh configuration | that of Helm's chart: mTLS by itself, \`outboundTrafficPolicy: ALLOW_ANY\`, root namespace \`istio-system\`, metrics for Prometheus |

## What is not there
Gateways and the Gateway API, waypoints, ProxyConfig, WasmPlugin, Kubernetes' own Services and Pods, extension providers, delegates of VirtualServices, addresses that an istiod allocates for names (\`240.240.0.0/16\`), name tables for the DNS of the device.

## Fields
A name within these fields that is not known here is refused.

| kind | fields covered | refused |
|---|---|---|
`

/** The page as it stands in docs/. */
export function writeIstioPage(): string {
  const rows = listKinds().map(({ kind, versions, covered, refused }) => {
    const fields = covered.map((field) => `\`${field}\``).join(', ')
    const told = refused.map(({ path, why }) => `\`${path}\`: ${why}`).join('; ')
    return `| ${kind} (${versions.join(', ')}) | ${fields} | ${told} |`
  })
  return `${HEAD}${rows.join('\n')}\n`
}
