// A table with a name for those who do not see where it stands. Everything in it is text.
import type { ComponentChildren } from "preact";

export interface Column<Item> {
  name: string;
  isNumber?: boolean;
  /** Left out where there is no room. */
  isExtra?: boolean;
  show: (item: Item) => ComponentChildren;
}

interface Props<Item> {
  caption: string;
  columns: Column<Item>[];
  items: Item[];
  keyOf: (item: Item, index: number) => string | number;
  classOf?: (item: Item) => string;
}

function kind<Item>({ isNumber, isExtra }: Column<Item>): string {
  return `${isNumber ? "number" : ""}${isExtra ? " extra" : ""}`;
}

export function Table<Item>({ caption, columns, items, keyOf, classOf }: Props<Item>) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={caption}>
      <table>
        <caption class="unseen">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.name} scope="col" class={kind(column)}>
                {column.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {items.map((item, index) => (
            <tr key={keyOf(item, index)} class={classOf?.(item) ?? ""}>
              {columns.map((column) => (
                <td key={column.name} class={kind(column)}>
                  {column.show(item)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
