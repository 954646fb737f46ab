/** Topics of Sparkplug 3.0 §4. */
import { NAMESPACE } from '../../../model/mqtt/sparkplug.ts'

const NODE_TYPES = ['NBIRTH', 'NDEATH', 'NDATA', 'NCMD'] as const
const DEVICE_TYPES = ['DBIRTH', 'DDEATH', 'DDATA', 'DCMD'] as const
export type MessageType = (typeof NODE_TYPES)[number] | (typeof DEVICE_TYPES)[number]

export type SparkplugTopic = {
  readonly type: MessageType
  /** `<group id>/<edge node id>`, which names an Edge Node: neither id has a slash. */
  readonly node: string
}

/** `spBv1.0/<group>/<type>/<node>[/<device>]`; undefined: it is another topic. */
export function parseTopic(topic: string): SparkplugTopic | undefined {
  if (!topic.startsWith(`${NAMESPACE}/`)) return undefined
  const [, group, type, node, device, more] = topic.split('/')
  if (!group || !node || more !== undefined) return undefined
  const types: readonly string[] = device === undefined ? NODE_TYPES : DEVICE_TYPES
  return types.includes(type!) ? { type: type as MessageType, node: `${group}/${node}` } : undefined
}

/** Of messages that have a sequence number, each an example of an Edge Node's. */
export function listSequencedTopics(node: string): readonly string[] {
  const of = (type: MessageType, device = ''): string => node.replace('/', `/${type}/`) + device
  return [of('NBIRTH'), of('NDATA'), of('DBIRTH', '/\u0001'), of('DDATA', '/\u0001'), of('DDEATH', '/\u0001')].map(
    (rest) => `${NAMESPACE}/${rest}`,
  )
}

export function nameCommandTopic(node: string): string {
  return `${NAMESPACE}/${node.replace('/', '/NCMD/')}`
}

/** Where a Host Application says whether it is online [tck-id-host-topic-phid-birth-topic]. */
export const nameStateTopic = (hostId: string): string => `${NAMESPACE}/STATE/${hostId}`
/** Where it did so in Sparkplug 2.2. */
export const nameLegacyStateTopic = (hostId: string): string => `STATE/${hostId}`
