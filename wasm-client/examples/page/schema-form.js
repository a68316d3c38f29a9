// A form for a tool's arguments, from the JSON Schema of its input. Values without a field of their own are written
// as JSON.

import { element } from "./dom.js";

/** Answers the form's content, and a function that reads the arguments from it. */
export function argumentFields(schema = {}) {
  const required = new Set(schema.required);
  const fields = Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(name, typeof property === "object" ? property : {}, required.has(name)),
  );
  const read = () => {
    const entries = fields.map(({ name, value }) => [name, value()]);
    return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
  };
  return { fields: fields.map(({ shown }) => shown), read };
}

function field(name, property, required) {
  const id = `argument-${name}`;
  const attributes = { id, name, required, autocomplete: "off", spellcheck: "false", "aria-describedby": property.description && `${id}-note` };
  const { control, value } = controlFor(property, attributes);
  const label = element("label", { for: id }, property.title ?? name, !required && element("span", { class: "note" }, " optional"));
  const note = property.description && element("p", { class: "note", id: `${id}-note` }, property.description);
  const isCheckbox = control.type === "checkbox";
  const shown = element("div", { class: isCheckbox ? "field check" : "field" }, isCheckbox ? [control, label] : [label, control], note);
  return { name, shown, value: () => value(control) };
}

function controlFor(property, attributes) {
  const initial = property.default;
  const text = (control) => (control.value === "" ? undefined : control.value);
  if (Array.isArray(property.enum)) {
    const options = property.enum.map((option, at) => element("option", { value: at, selected: option === initial }, String(option)));
    const control = element("select", attributes, !attributes.required && element("option", { value: "" }, "–"), options);
    return { control, value: ({ value }) => (value === "" ? undefined : property.enum[value]) };
  }
  switch (property.type) {
    case "string":
      return { control: element("input", { ...attributes, type: "text", value: initial }), value: text };
    case "integer":
    case "number": {
      const { minimum: min, maximum: max } = property;
      const step = property.type === "integer" ? 1 : "any";
      const control = element("input", { ...attributes, type: "number", step, min, max, value: initial });
      return { control, value: ({ value }) => (value === "" ? undefined : Number(value)) };
    }
    case "boolean": {
      // Not `required`: that would mean that it must be ticked.
      const control = element("input", { ...attributes, required: false, type: "checkbox", checked: initial === true });
      return { control, value: ({ checked }) => (checked || attributes.required || initial !== undefined ? checked : undefined) };
    }
    default: {
      const control = element("textarea", { ...attributes, rows: 3, placeholder: "JSON" }, initial === undefined ? "" : JSON.stringify(initial));
      return { control, value: (from) => (text(from) === undefined ? undefined : parse(from.value, attributes.name)) };
    }
  }
}

/** JSON that the user has typed. */
export function parse(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${what} is not JSON: ${error.message}`);
  }
}
