import type { ComponentChildren } from 'preact'
import type { DeviceRow } from '../../hub/console/schemas.ts'
import { toDevice } from '../router.ts'
import { Labels, Link, StatePill, When } from './basics.tsx'

/** A device in a list of those that somebody should look at, with what is wrong. */
export const DeviceItem = ({ row, children }: { readonly row: DeviceRow; readonly children?: ComponentChildren }) => (
  <li>
    <div class="line">
      <Link href={toDevice(row.name)}>{row.name}</Link> <StatePill state={row.state} />
      {children} <Labels labels={row.labels} />
      <span class="muted push">
        <When ms={row.sinceMs} />
      </span>
    </div>
    {row.wrong.map((text) => (
      <p key={text}>{text}</p>
    ))}
  </li>
)
