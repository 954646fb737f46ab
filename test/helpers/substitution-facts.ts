import type { SubstitutionFacts } from '../../model/substitution.ts'

/** Of one answered request. */
export const facts: SubstitutionFacts = {
  client: { host: '192.0.2.1', port: 4000 },
  remote: { host: '192.0.2.9', port: 4001 },
  routeName: 'r',
  cluster: 'c',
  status: 200,
  peer: undefined,
  local: { host: '10.0.0.1', port: 80 },
  protocol: 'HTTP/1.1',
  startedMs: 0,
  serverName: 'a.example',
  request: (name) => ({ 'x-a': 'va', ':path': '/p' })[name],
}
