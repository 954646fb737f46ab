import { stringify } from 'yaml'

/** Plain data as agent.yaml is written by hand: two spaces, no anchors, long lines as they are. */
export function toYaml(value: object): string {
  return stringify(value, { lineWidth: 0, aliasDuplicateObjects: false })
}
