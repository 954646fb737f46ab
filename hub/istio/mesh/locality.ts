import type { Labels } from '../kinds/fields.ts'

/** Where something stands, as Istio writes it: region/zone/sub-zone. */
export type Locality = { readonly region: string; readonly zone: string; readonly subZone: string }

export function splitLocality(text: string): Locality {
  const [region = '', zone = '', subZone = ''] = text.split('/')
  return { region, zone, subZone }
}

/** Without what is empty at its end. */
export function formatLocality({ region, zone, subZone }: Locality): string {
  return [region, zone, subZone].join('/').replace(/\/+$/, '')
}

const REGION = 'topology.kubernetes.io/region'
const ZONE = 'topology.kubernetes.io/zone'
const SUB_ZONE = 'topology.istio.io/subzone'

/** @returns undefined: the labels say nothing of it */
export function readLocality(labels: Labels): Locality | undefined {
  if ([REGION, ZONE, SUB_ZONE].every((label) => labels[label] === undefined)) return undefined
  return { region: labels[REGION] ?? '', zone: labels[ZONE] ?? '', subZone: labels[SUB_ZONE] ?? '' }
}

/** serviceregistry/util/label AugmentLabels. */
export function addTopology(
  labels: Labels,
  { clusterId, locality, network }: { readonly clusterId: string; readonly locality: string; readonly network: string },
): Labels {
  const [region = '', zone = '', subZone = ''] = locality.split('/')
  const more = {
    [REGION]: region,
    [ZONE]: zone,
    [SUB_ZONE]: subZone,
    'topology.istio.io/cluster': clusterId,
    'topology.istio.io/network': labels['topology.istio.io/network'] ?? network,
  }
  return { ...labels, ...Object.fromEntries(Object.entries(more).filter(([, value]) => value !== '')) }
}
