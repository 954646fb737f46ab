/** Devices whose key was found twice, and those that are kept out: who goes on is somebody's to decide. */
import type { DeviceRow, Enrolment } from '../../hub/console/schemas.ts'
import { Card, Pill } from '../parts/basics.tsx'
import { decideAbout } from '../parts/decide.ts'
import { DeviceItem } from '../parts/device-item.tsx'
import { mayIn, type Asking } from './waiting.tsx'

type Clone = Enrolment['clones'][number]

export const KeptOut = ({ clones, keptOut, ...rest }: Pick<Enrolment, 'clones' | 'keptOut'> & Asking) =>
  clones.length + keptOut.length === 0 ? null : (
    <Card title="Found twice, or kept out">
      <ul class="list">
        {clones.map((row) => (
          <DeviceItem key={row.name} row={row}>
            <Pill tone="bad">two copies</Pill>
            <Copies row={row} {...rest} />
          </DeviceItem>
        ))}
        {keptOut
          .filter((row) => !row.cloned)
          .map((row: DeviceRow) => (
            <DeviceItem key={row.name} row={row} />
          ))}
      </ul>
    </Card>
  )

/** Both addresses, and the choice. */
function Copies({ row, me, reload, ask }: { readonly row: Clone } & Asking) {
  const { name, keyId, cloneAddresses, namespace } = row
  const decide = decideAbout(name, reload)
  return (
    <>
      <span>{cloneAddresses === null ? 'addresses not known' : `from ${cloneAddresses}`}</span>
      {mayIn(me, 'operator', namespace) && (
        <span class="actions">
          {keyId !== null && (
            <button
              type="button"
              aria-label={`Let in again ${name}`}
              onClick={() =>
                ask({
                  title: `Let ${name} in again?`,
                  text: (
                    <p>
                      Whichever copy of its key comes next goes on{cloneAddresses !== null && `, of ${cloneAddresses}`}.
                      Find the other one first.
                    </p>
                  ),
                  yes: 'Approve',
                  act: decide('approve', { keyId }),
                  said: `${name} may come in again.`,
                })
              }
            >
              Let in again
            </button>
          )}
          <button
            type="button"
            class="danger"
            aria-label={`Revoke ${name}`}
            onClick={() =>
              ask({
                title: `Revoke ${name}?`,
                text: <p>Neither copy of its key opens anything any more.</p>,
                yes: 'Revoke',
                isDangerous: true,
                act: decide('revoke'),
                said: `${name} is revoked.`,
              })
            }
          >
            Revoke
          </button>
        </span>
      )}
    </>
  )
}
