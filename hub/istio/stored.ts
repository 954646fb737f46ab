/** An Istio resource as a resource of the hub: bytes with a name, beside those of xDS. */
import type { Config, Meta } from './config.ts'

/** Of the resources that are compiled before a node is sent anything. */
export const ISTIO_TYPE_URL = 'type.googleapis.com/meshlet.istio.Config'

/** Unique within a folder. */
export function nameStored({ kind, namespace, name }: Meta): string {
  return `${kind} ${namespace}/${name}`
}

export function packConfig({ kind, name, namespace, labels, annotations, createdMs, spec }: Config): Uint8Array {
  return Buffer.from(JSON.stringify({ kind, name, namespace, labels, annotations, createdMs, spec }))
}

/** What did not change is the same object, so that nothing that depends on it is compiled again. */
const known = new WeakMap<Uint8Array, Config>()

/** @param value as packConfig made it: it was checked then */
export function unpackConfig(value: Uint8Array): Config {
  const config = known.get(value) ?? {
    ...(JSON.parse(Buffer.from(value).toString()) as Omit<Config, 'file' | 'place'>),
    file: '',
    place: { line: 1, column: 1 },
  }
  known.set(value, config)
  return config
}
