// Draws the figures where their places are.
library("figures").then(() => {
  for (const item of JSON.parse(document.getElementById("figure-data").textContent)) Bokeh.embed.embed_item(item);
}).catch(() => {
  for (const place of document.querySelectorAll("figure [data-root-id]"))
    place.textContent = "This browser cannot unpack the figures; one of 2023 or later can.";
});
