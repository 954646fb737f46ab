/**
 * ISTIO_META_X and ISTIO_METAJSON_X, from the environment or from a file of it, as settings of agent.yaml (istio
 * pkg/bootstrap/config.go): a text, or parsed JSON. What agent.yaml has a setting for becomes that setting; the rest is
 * node metadata as it is.
 */

type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }
export type EnvSettings = {
  readonly node: Readonly<Record<string, Json>>
  readonly capture: string | undefined
  /** HTTP_PROXY_PORT, for whom wants a listener there. */
  readonly httpProxyPort: string | undefined
  /** Path of a setting, joined by dots → the variable that it comes from. */
  readonly origins: ReadonlyMap<string, string>
  readonly problems: readonly { readonly variable: string; readonly problem: string }[]
}

/** Node metadata for which there is a setting. */
const SETTINGS: Readonly<Record<string, string>> = {
  CLUSTER_ID: 'clusterId',
  NETWORK: 'network',
  MESH_ID: 'meshId',
  NAMESPACE: 'namespace',
  SERVICE_ACCOUNT: 'serviceAccount',
  NAME: 'name',
  LABELS: 'labels',
  INSTANCE_IPS: 'ip',
}
const CAPTURE: Readonly<Record<string, string>> = { NONE: 'explicit', TPROXY: 'transparent', REDIRECT: 'redirect' }

export function readEnvSettings(variables: Iterable<readonly [name: string, value: string]>): EnvSettings {
  const node: Record<string, Json> = {}
  const metadata: Record<string, Json> = {}
  const members: Record<string, Json> = {}
  const origins = new Map<string, string>()
  const problems: { variable: string; problem: string }[] = []
  let capture: string | undefined
  let httpProxyPort: string | undefined
  for (const [variable, text] of variables) {
    const [, kind, key] = /^ISTIO_META(JSON)?_(.+)$/.exec(variable) ?? []
    if (key === undefined) continue
    const value = kind === undefined ? text : parsed(text)
    if (value === undefined) {
      problems.push({ variable, problem: `is no JSON: ${shown(text)}` })
      continue
    }
    // Istio's agent puts the members of an object at the root, where EnvoyFilters match them; names in Istio's own
    // style are left to variables of their own.
    if (isObject(value))
      for (const [name, member] of Object.entries(value)) if (!/^[A-Z0-9_]+$/.test(name)) members[name] ??= member
    const setting = SETTINGS[key]
    if (key === 'INTERCEPTION_MODE') {
      capture = typeof value === 'string' ? CAPTURE[value] : undefined
      if (capture === undefined) problems.push({ variable, problem: 'must be NONE, REDIRECT or TPROXY' })
      origins.set('capture', variable)
    } else if (setting !== undefined) {
      // What istioctl does not know it leaves empty.
      if (value === '') continue
      node[setting] = setting === 'ip' ? firstOf(value) : value
      origins.set(`node.${setting}`, variable)
      if (setting === 'ip' && value !== node[setting]) metadata[key] = value
    } else {
      if (key === 'HTTP_PROXY_PORT' && typeof value === 'string') httpProxyPort = value
      metadata[key] = value
      origins.set(`node.metadata.${key}`, variable)
    }
  }
  const all = { ...members, ...metadata }
  return {
    node: Object.keys(all).length > 0 ? { ...node, metadata: all } : node,
    capture,
    httpProxyPort,
    origins,
    problems,
  }
}

/** Undefined when it is no JSON. */
function parsed(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json
  } catch {
    return undefined
  }
}
const firstOf = (list: Json): Json => (typeof list === 'string' ? list.split(',')[0]!.trim() : list)
const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
const shown = (text: string): string => JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text)
