import type { DataUse as Use } from '../../hub/console/fleet-schemas.ts'
import { useData } from '../data.ts'
import { formatBytes, plural } from '../format.ts'
import { Card, Link, Loading, ProblemNote } from '../parts/basics.tsx'
import { Table } from '../parts/table.tsx'
import { toDevice } from '../router.ts'

/** Asked for after the rest of the view: it takes the hub the longest. */
export function DataUse() {
  const { value, problem, reload } = useData<Use>('/data-use')
  return (
    <Card title="Data use">
      {problem && <ProblemNote problem={problem} retry={reload} />}
      {!value && !problem && <Loading />}
      {value?.devices === 0 && <p class="muted">No device has reported: devices on the relay do.</p>}
      {value && value.devices > 0 && (
        <>
          <Table
            label="Data use by purpose"
            columns={['Purpose', { text: 'To the hub', kind: 'number' }, { text: 'From the hub', kind: 'number' }]}
          >
            {value.purposes.map(({ purpose, sent, received }) => (
              <tr key={purpose}>
                <td>{purpose}</td>
                <td class="number">{formatBytes(sent)}</td>
                <td class="number">{formatBytes(received)}</td>
              </tr>
            ))}
          </Table>
          <p class="muted">Of {plural(value.devices, 'device')}, since each started. The most:</p>
          <ul>
            {value.largest.slice(0, 5).map(({ name, bytes }) => (
              <li key={name}>
                <Link href={toDevice(name)}>{name}</Link> {formatBytes(bytes)}
              </li>
            ))}
          </ul>
        </>
      )}
    </Card>
  )
}
